"""The blocking driver: an event loop without a thread, run by the threads that wait.

Everything of a blocking channel belongs to one `SharedLoop`. A thread enters it to make a call, and
is the only one inside until it leaves. Threads that wait for a step of a call leave one of them
to lead: it polls the sockets and dispatches what comes to all, the others sleep until their step
is done or the lead is theirs. So a call that is made alone is sent, waited for and read by its own
thread. While nobody waits, the janitor (`janitor.py`) keeps the loop.

It has as much of asyncio's loop interface as the channel below it uses: the asynchronous and the
blocking face are the same client.
"""
import asyncio
import errno
import heapq
import logging
import os
import socket
import threading
from _thread import allocate_lock
from asyncio import events as asyncio_events
from collections import deque

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.errno cimport EAGAIN, EINTR, EPIPE
from libc.errno cimport errno as c_errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc

from .clock cimport monotonic
from .driver cimport add_atomically, wanting_gil
from .lingering cimport LINGER, Lingering
from .waiting cimport Operation, Parking, Waiting

log = logging.getLogger("gyrfalcon.transport")

cdef extern from "pythread.h":
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock)
    int PyThread_acquire_lock(PyThread_type_lock, int wait) nogil
    void PyThread_release_lock(PyThread_type_lock)
    unsigned long PyThread_get_thread_ident()

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef extern from "poll.h" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int milliseconds)
    short POLLIN
    short POLLOUT
    short POLLERR
    short POLLHUP
    short POLLNVAL

cdef extern from "sys/socket.h" nogil:
    Py_ssize_t recv(int fd, void *data, size_t size, int flags)
    Py_ssize_t send(int fd, const void *data, size_t size, int flags)
    int MSG_DONTWAIT

cdef extern from *:
    """
    #include <sys/socket.h>
    #ifdef MSG_NOSIGNAL
    #define GYR_SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
    #else
    #define GYR_SEND_FLAGS MSG_DONTWAIT  /* SO_NOSIGPIPE is set on the socket */
    #endif
    """
    int GYR_SEND_FLAGS

cdef object get_running_loop = asyncio_events._get_running_loop
cdef object set_running_loop = asyncio_events._set_running_loop

# As the asyncio driver: one read takes this much at most.
cdef Py_ssize_t READ_SIZE = 256 * 1024
# What the socket did not take; above it the driver makes no more.
cdef Py_ssize_t HIGH_WATER = 64 * 1024
cdef int FEW = 16               # descriptors that are polled without an allocation
# Cancelled timers are swept out of the heap when they are so many and half of it.
cdef Py_ssize_t DROPPED_TIMERS = 64


cdef class ThreadParking(Parking):
    """What a thread waits for."""

    cdef int fire(self) except -1:
        if not self.ended:
            self.ended = True
            if self.loop.polling and self.loop.leader == self.thread:
                # It polls for all, and its own step was ended by another thread.
                self.loop.stale = True
            self.wake_thread()
        return 0

    cdef int wake_thread(self) except -1:
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.release()
        return 0

    def fire_for(self, done):
        """A done-callback of futures and tasks: what the thread waits for is there."""
        self.fire()


cdef ThreadParking make_parking(SharedLoop loop):
    cdef ThreadParking parking = ThreadParking.__new__(ThreadParking)
    parking.loop = loop
    parking.thread = PyThread_get_thread_ident()
    return parking


@cython.freelist(16)
cdef class Turn:
    """A callback that the loop will run: what asyncio calls a handle."""

    cdef int run(self) except -1:
        if self.dropped:
            return 0
        callback = self.callback
        self.callback = None
        try:
            if self.context is None:
                callback(*self.arguments)
            else:
                self.context.run(callback, *self.arguments)
        except Exception:
            log.exception("an internal callback failed: %r", callback)
        return 0

    def cancel(self):
        """Do not run it."""
        if not self.dropped and self.loop is not None and self.callback is not None:
            self.loop.dropped_timers += 1
        self.dropped = True
        self.callback = None

    def cancelled(self):
        """Whether it was cancelled."""
        return self.dropped

    def when(self):
        """When a timer is due, in the loop's time."""
        return self.due


cdef Turn make_turn(callback, tuple arguments, context):
    cdef Turn turn = Turn.__new__(Turn)
    turn.callback = callback
    turn.arguments = arguments
    turn.context = context
    return turn


# ---------------------------------------------------------------------- what is polled

cdef class Pollee:
    """A descriptor of the loop's."""

    cdef int ready(self, bint readable, bint writable, Py_ssize_t got, int error) except -1:
        """It can be read or written. `got`: what was read into the loop's buffer, -1 nothing
        (`error` says why)."""
        return 0


cdef class Connecting(Pollee):
    """A socket that connects; `done` is a future of the loop."""
    cdef object done

    cdef int ready(self, bint readable, bint writable, Py_ssize_t got, int error) except -1:
        # While it was polled another thread may have been inside, and given it up.
        if self in self.loop.pollees:
            self.loop.pollees.remove(self)
            if not self.done.done():
                self.done.set_result(None)
        return 0


cdef class SocketTransport(Pollee):
    """asyncio's transport over a connected socket, as far as the driver uses it."""

    def get_extra_info(self, name, default=None):
        """"peername", "sockname", "socket" (what has its descriptor)."""
        if name == "socket":
            return self
        return self.extra.get(name, default)

    def fileno(self):
        """The descriptor of the socket; -1 when it is closed."""
        return self.fd

    def write(self, data):
        """Send; what the socket does not take now goes later."""
        if self.closing or self.over or self.unheard:
            return
        size = len(data)
        if size == 0:
            return
        self.pending.append(memoryview(data))
        self.pending_bytes += size
        if len(self.pending) == 1:
            self.send_pending()
        if self.pending_bytes > HIGH_WATER and not self.paused and not self.over:
            self.paused = True
            self.protocol.pause_writing()

    cdef int send_pending(self) except -1:
        cdef const uint8_t[:] piece
        cdef const void *start
        cdef Py_ssize_t sent
        cdef size_t size
        cdef int fd = self.fd
        cdef int error
        while self.pending and not self.over:
            view = self.pending[0]
            piece = view
            start = &piece[0]
            size = <size_t> piece.shape[0]
            with nogil:
                sent = send(fd, start, size, GYR_SEND_FLAGS)
                error = c_errno
                add_atomically(&wanting_gil, 1)
            add_atomically(&wanting_gil, -1)
            if sent < 0:
                if error == EINTR:
                    continue
                if error == EPIPE and not self.closing:
                    # What the peer said before it closed tells why: the end comes after that.
                    self.unheard = True
                    self.pending.clear()
                    self.pending_bytes = 0
                    break
                if error != EAGAIN:
                    return self.fail(error)
                break
            self.pending_bytes -= sent
            if <size_t> sent == size:
                self.pending.popleft()
            else:
                self.pending[0] = view[sent:]
                break
        if bool(self.pending) != self.writes:
            self.writes = not self.writes
            self.loop.stale = True
        return 0

    cdef int ready(self, bint readable, bint writable, Py_ssize_t got, int error) except -1:
        if self.over:
            return 0
        if writable and self.pending:
            self.send_pending()
            if self.paused and self.pending_bytes * 2 <= HIGH_WATER and not self.over:
                self.paused = False
                self.protocol.resume_writing()
            if self.closing and not self.pending and not self.over:
                return self.end(None)
        if readable and not self.closing and not self.over:
            if got > 0:
                self.protocol.buffer_updated(got)
            elif got == 0:
                if self.unheard:
                    return self.fail(EPIPE)
                self.end(None)
            elif error != EAGAIN and error != EINTR:
                self.fail(error)
        return 0

    cdef int fail(self, int error) except -1:
        return self.end(OSError(error, os.strerror(error)))

    cdef int end(self, object error) except -1:
        """Give the socket up; the protocol hears of it in a turn of its own."""
        if self.over:
            return 0
        self.over = True
        self.closing = True
        self.pending.clear()
        self.pending_bytes = 0
        self.loop.pollees.remove(self)
        self.loop.doomed.append(self.fd)
        self.loop.stale = True
        self.loop.call_soon(self.protocol.connection_lost, error)
        return 0

    def close(self):
        """Close after what was written is sent."""
        if not self.closing:
            self.closing = True
            if not self.pending:
                self.end(None)

    def abort(self):
        """Close now."""
        self.end(None)

    def is_closing(self):
        """Whether it is closed, or will be."""
        return self.closing

    def get_write_buffer_size(self):
        """Bytes that the socket did not take yet."""
        return self.pending_bytes


# ---------------------------------------------------------------------- the loop

cdef class SharedLoop:
    """The loop of one blocking channel. `janitor` keeps it while nobody waits."""

    def __cinit__(self):
        self.mutex = PyThread_allocate_lock()
        if self.mutex == NULL:
            raise MemoryError
        self.wake_read = self.wake_write = -1
        self.polls_until = -1

    def __init__(self, janitor):
        self.janitor = janitor
        self.turns = deque()
        self.inbox = deque()
        self.timers = []
        self.pollees = []
        self.doomed = []
        self.followers = []
        self.lingering = Lingering()
        self.read_buffer = bytearray(READ_SIZE)
        self.read_data = <uint8_t *> PyByteArray_AS_STRING(self.read_buffer)
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self.wake_write, False)

    def __dealloc__(self):
        if self.mutex != NULL:
            PyThread_free_lock(self.mutex)
        for descriptor in (self.wake_read, self.wake_write):
            if descriptor >= 0:
                os.close(descriptor)

    # ------------------------------------------------------------------ one thread at a time

    cdef int lock(self) except -1:
        if not PyThread_acquire_lock(self.mutex, 0):
            with nogil:
                PyThread_acquire_lock(self.mutex, 1)
                add_atomically(&wanting_gil, 1)
            add_atomically(&wanting_gil, -1)
        self.owner = PyThread_get_thread_ident()
        self.outer_loop = get_running_loop()
        set_running_loop(self)
        return 0

    cdef int unlock(self) except -1:
        set_running_loop(self.outer_loop)
        self.outer_loop = None
        self.owner = 0
        PyThread_release_lock(self.mutex)
        return 0

    cdef int enter(self) except -1:
        """Have the loop for this thread alone; each `enter` needs its `leave`."""
        if self.forked:
            # A thread of the parent may have been inside: it will never leave here.
            raise RuntimeError(
                "this call was made in another process; after a fork the child makes its own")
        if self.owner != PyThread_get_thread_ident():
            self.lock()
        self.depth += 1
        return 0

    cdef int leave(self) except -1:
        if self.depth > 1:
            self.depth -= 1
            return 0
        try:
            self.tidy()
        finally:
            self.depth = 0
            self.unlock()
        return 0

    cdef int tidy(self) except -1:
        """Do what is to be done before this thread unlocks the loop."""
        # What comes into the inbox after the last look finds the loop free: no Python code runs
        # between that look and the release.
        while True:
            self.run_turns()
            self.settle()
            if not self.turns and not self.inbox:
                return 0

    cdef bint step_out(self) except -1:
        """Let others in while this thread, which entered, runs what may wait; then `step_in`.
        False where that cannot be: in the midst of the loop's turns and events."""
        if self.busy or self.depth != 1 or self.owner != PyThread_get_thread_ident():
            return False
        self.tidy()
        self.depth = 0
        self.unlock()
        return True

    cdef int step_in(self) except -1:
        """Be inside again."""
        return self.enter()

    cdef int settle(self) except -1:
        """See to it that somebody looks after the loop when this thread goes."""
        if self.polling:
            if self.stale:
                self.poke()
        else:
            self.close_doomed()
        if self.leader == 0 and not self.kept and not self.closed:
            if self.unattended > 0:
                self.kept = True
                self.janitor.look_at(self)
            elif not self.noted and (self.pollees or self.timers):
                self.noted = True
                self.left_at = monotonic()
                self.janitor.look_at(self)
        return 0

    cdef int poke(self) except -1:
        """Get whoever polls out of it: what is to be polled has changed."""
        if not self.poked:
            self.poked = True
            if self.kept:
                self.janitor.wake()
            else:
                try:
                    os.write(self.wake_write, b"!")
                except BlockingIOError:
                    pass    # full of such already
        return 0

    cdef int attend(self, Py_ssize_t change) except -1:
        """So many more steps that no thread waits for."""
        self.unattended += change
        return 0

    cdef int run_turns(self) except -1:
        cdef Turn turn
        if not self.turns and not self.inbox:
            return 0
        self.busy += 1
        try:
            while self.turns or self.inbox:
                if self.inbox:
                    turn = self.inbox.popleft()
                else:
                    turn = self.turns.popleft()
                turn.run()
        finally:
            self.busy -= 1
        return 0

    # ------------------------------------------------------------------ waiting

    cdef int wait(self, Waiting call, Operation operation, double until) except -1:
        """Wait (inside) until the step can be finished: 1; 0 when it is `until` before that.

        When the thread is interrupted the step is abandoned, as when a task is cancelled.
        """
        cdef ThreadParking parking
        self.run_turns()
        while True:
            if call.run_errand():
                continue
            if call.poll(operation):
                return 1
            parking = make_parking(self)
            parking.operation = operation
            operation.parking = parking
            if call.operations is None:
                call.operations = [operation]
            else:
                call.operations.append(operation)
            try:
                self.park(parking, until)
            except BaseException:
                operation.leave()
                call.abandon(operation)
                call.pass_errand_on()
                raise
            operation.leave()
            if until >= 0 and not parking.ended:
                return call.poll(operation)

    cdef int park(self, ThreadParking parking, double until) except -1:
        """Lead or follow until the parking has ended, or until then."""
        cdef unsigned long me = PyThread_get_thread_ident()
        # Nested: what this thread runs as the leader waits in its turn.
        cdef bint led = self.leader == me
        try:
            while not parking.ended:
                self.run_timers()
                self.run_turns()
                if parking.ended or (0 <= until <= monotonic()):
                    break
                if self.leader == 0:
                    if not self.kept:
                        self.leader = me
                    elif self.unattended == 0:
                        self.kept = self.polling = False
                        self.leader = me
                        self.janitor.look_at(self)
                if self.leader == me:
                    self.turn(until)
                else:
                    self.follow(parking, until)
        finally:
            if self.leader == me and not led:
                self.hand_over()
                self.left_at = monotonic()
        return 0

    cdef int hand_over(self) except -1:
        """The leader goes: one that waits takes its place."""
        cdef ThreadParking parking
        self.leader = 0
        while self.followers:
            parking = self.followers.pop(0)
            if not parking.ended and parking.gate is not None:
                self.leader = parking.thread
                return parking.wake_thread()
        return 0

    cdef int follow(self, ThreadParking parking, double until) except -1:
        """Sleep until the parking has ended, the lead is this thread's, or until then."""
        cdef int depth = self.depth, busy = self.busy
        # One that came since the last bytecode would not interrupt what comes now.
        PyErr_CheckSignals()
        gate = allocate_lock()
        gate.acquire()
        parking.gate = gate
        self.followers.append(parking)
        if self.polling and self.stale:
            self.poke()
        # As in `leave`.
        while self.turns or self.inbox:
            self.run_turns()
        self.depth = self.busy = 0
        self.unlock()
        try:
            if until < 0:
                gate.acquire()
            else:
                gate.acquire(True, max(until - monotonic(), 0.0))
        finally:
            self.lock()
            self.depth = depth
            self.busy = busy
            parking.gate = None
            if parking in self.followers:
                self.followers.remove(parking)
        return 0

    cdef int turn(self, double until) except -1:
        """Poll once, and dispatch what came. Only for the leader, and the janitor in its place."""
        cdef pollfd few[16]
        cdef pollfd *polled = few
        cdef Py_ssize_t count = len(self.pollees)
        cdef Py_ssize_t index, first = -1, got = -1
        cdef bint lingered
        cdef int milliseconds = -1, found = 0, read_error = 0
        cdef int depth = self.depth, busy = self.busy
        cdef double due, lingers_until = 0
        cdef Pollee pollee
        cdef list pollees = list(self.pollees)
        if count + 1 > FEW:
            polled = <pollfd *> malloc((count + 1) * sizeof(pollfd))
            if polled == NULL:
                raise MemoryError
        try:
            polled[count].fd = self.wake_read
            polled[count].events = POLLIN
            for index in range(count):
                pollee = pollees[index]
                polled[index].fd = pollee.fd
                polled[index].events = ((POLLIN if pollee.reads else 0)
                                        | (POLLOUT if pollee.writes else 0))
            due = self.timers[0][0] if self.timers else -1
            self.polls_until = due
            if until >= 0 and (due < 0 or until < due):
                due = until
            if due >= 0:
                # Rounded up: the loop would spin through the last part of a millisecond.
                milliseconds = <int> min(max((due - monotonic()) * 1e3 + 0.999, 0.0), 1e9)
            # A signal that came since the last bytecode would not interrupt what comes now.
            PyErr_CheckSignals()
            self.stale = False
            self.polling = True
            self.depth = self.busy = 0
            if self.inbox:
                milliseconds = 0    # from a finalizer that ran in here
            if milliseconds != 0 and self.lingering.worthwhile():
                lingers_until = monotonic() + LINGER
            self.unlock()
            with nogil:
                while found == 0 and monotonic() < lingers_until:
                    found = poll(polled, count + 1, 0)
                lingered = found != 0
                if not lingered:
                    found = poll(polled, count + 1, milliseconds)
                if found > 0:
                    # The first that can be read is read here, without the loop: the lead alone is
                    # what entitles to its buffer.
                    for index in range(count):
                        if polled[index].revents & ~POLLOUT and polled[index].events & POLLIN:
                            first = index
                            got = recv(polled[index].fd, self.read_data, READ_SIZE, MSG_DONTWAIT)
                            if got < 0:
                                read_error = c_errno
                            break
                add_atomically(&wanting_gil, 1)
            add_atomically(&wanting_gil, -1)
            self.lock()
            self.depth = depth
            self.busy = busy + 1
            self.polling = False
            if lingered:
                self.lingering.paid()
            elif lingers_until > 0:
                self.lingering.wasted()
            # Also where the poll was not cut short: the first bytecode after a signal raises, and
            # that may be a weak reference's callback, where an exception is lost.
            PyErr_CheckSignals()
            if found > 0:
                if polled[count].revents:
                    self.drain_pokes()
                for index in range(count):
                    if polled[index].revents == 0:
                        continue
                    pollee = pollees[index]
                    if index != first:
                        got = -1
                        read_error = EAGAIN
                        if polled[index].events & POLLIN and polled[index].revents & ~POLLOUT:
                            if pollee in self.pollees:
                                got = recv(pollee.fd, self.read_data, READ_SIZE, MSG_DONTWAIT)
                                if got < 0:
                                    read_error = c_errno
                    pollee.ready((polled[index].revents & ~POLLOUT) != 0,
                                 (polled[index].revents & (POLLOUT | POLLERR | POLLHUP)) != 0,
                                 got, read_error)
            self.run_timers()
            self.run_turns()
            self.close_doomed()
        finally:
            if self.depth == 0:
                self.lock()
                self.depth = depth
                self.polling = False
            self.busy = busy
            if polled != few:
                free(polled)
        return 0

    def drain_pokes(self):
        """Take the bytes out of the pipe that got the leader out of its poll."""
        self.poked = False
        try:
            os.read(self.wake_read, 4096)
        except BlockingIOError:
            pass

    cdef int close_doomed(self) except -1:
        # Not while somebody polls them: the number may be a new socket's the next moment.
        while self.doomed:
            os.close(self.doomed.pop())
        if self.closed:
            self.wake_read = self.wake_write = -1
        return 0

    cdef double run_timers(self) except? -2:
        """Run what is due; when the next timer is, -1 for none."""
        cdef Turn turn
        cdef double now = -1
        while self.timers:
            turn = self.timers[0][2]
            if turn.dropped:
                heapq.heappop(self.timers)
                self.dropped_timers -= 1
                continue
            if now < 0:
                now = monotonic()
            if turn.due > now:
                return turn.due
            heapq.heappop(self.timers)
            turn.loop = None
            self.busy += 1
            try:
                turn.run()
            finally:
                self.busy -= 1
        return -1

    # ------------------------------------------------------------------ for the janitor

    def plan(self, double now, double patience):
        """What the janitor is to do about the loop: None when nothing, else (descriptors with
        events to poll, when to look again or -1).

        It keeps a loop that has steps nobody waits for, or that was left `patience` seconds ago.
        """
        self.enter()
        try:
            self.noted = False
            if self.kept:
                # It is the janitor who polled, and it is here.
                self.poked = self.polling = False
                self.close_doomed()
            idle = not self.pollees and not self.timers and not self.unattended
            if self.leader != 0 or self.closed or idle:
                self.kept = False
            elif self.unattended or now >= self.left_at + patience:
                self.kept = True
            if not self.kept:
                if self.closed or idle or now >= self.left_at + patience:
                    # What has a leader for so long tells when it is left.
                    return None
                self.noted = True
                return (), self.left_at + patience
            due = self.run_timers()
            self.run_turns()
            self.close_doomed()
            self.stale = False
            self.polling = True
            self.polls_until = due
            return [
                ((<Pollee> pollee).fd, (POLLIN if (<Pollee> pollee).reads else 0)
                 | (POLLOUT if (<Pollee> pollee).writes else 0))
                for pollee in self.pollees
            ], due
        finally:
            self.leave()

    def serve(self):
        """Read what is there, in the leader's place (the janitor's thread)."""
        self.enter()
        try:
            if self.kept and self.leader == 0:
                self.polling = False
                # A turn unlocks the loop: who comes meanwhile must not read into the same buffer.
                self.leader = PyThread_get_thread_ident()
                try:
                    self.turn(0)
                finally:
                    self.hand_over()
                    if self.leader != 0:
                        self.kept = False
                        self.janitor.look_at(self)
        finally:
            self.leave()

    # ------------------------------------------------------------------ asyncio's interface

    def time(self):
        """Now, in seconds, on the monotonic clock."""
        return monotonic()

    def get_debug(self):
        """There is no debug mode."""
        return False

    def is_closed(self):
        """Whether the loop is closed."""
        return self.closed

    def is_running(self):
        """Whether this thread is inside."""
        return self.owner == PyThread_get_thread_ident()

    def call_soon(self, callback, *arguments, context=None):
        """Run a callback before the thread leaves (inside)."""
        turn = make_turn(callback, arguments, context)
        self.turns.append(turn)
        return turn

    def call_soon_threadsafe(self, callback, *arguments, context=None):
        """Run a callback inside, soon; from any thread, also from a finalizer."""
        turn = make_turn(callback, arguments, context)
        if self.closed:
            return turn
        self.inbox.append(turn)
        if self.owner == 0:
            if self.polling and not self.kept:
                self.poke()
            else:
                self.janitor.look_at(self)
        return turn

    def call_later(self, double delay, callback, *arguments, context=None):
        """Run a callback after so many seconds (inside)."""
        return self.call_at(monotonic() + delay, callback, *arguments, context=context)

    def call_at(self, double when, callback, *arguments, context=None):
        """Run a callback at that time of the loop's (inside)."""
        cdef Turn turn = make_turn(callback, arguments, context)
        turn.loop = self
        turn.due = when
        self.timer_count += 1
        heapq.heappush(self.timers, (when, self.timer_count, turn))
        if self.polls_until < 0 or when < self.polls_until:
            self.stale = True
        if self.dropped_timers > DROPPED_TIMERS and self.dropped_timers * 2 > len(self.timers):
            self.timers = [entry for entry in self.timers if not (<Turn> entry[2]).dropped]
            heapq.heapify(self.timers)
            self.dropped_timers = 0
        return turn

    def create_future(self):
        """A future of the loop (inside)."""
        return asyncio.Future(loop=self)

    def create_task(self, coroutine, *, name=None, context=None):
        """A task of the loop (inside); it runs while threads wait or the janitor keeps it."""
        return asyncio.Task(coroutine, loop=self, name=name, context=context)

    def call_exception_handler(self, context):
        """Log what asyncio has no other way to tell."""
        log.error("%s", context.get("message"), exc_info=context.get("exception"))

    async def create_connection(self, make_protocol, host, port):
        """Connect to an IP address; returns (transport, protocol). Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # A zone, as in fe80::1%eth0, is getaddrinfo's to read; a literal needs no look-up.
        found = socket.getaddrinfo(
            host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.sock_connect(connected, found[0][4])
            return self.join_socket(connected, make_protocol)
        except BaseException:
            connected.close()
            raise

    async def create_unix_connection(self, make_protocol, path=None, *, sock=None):
        """Connect to a unix socket, or take a connected one; returns (transport, protocol)."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) if sock is None else sock
        try:
            if path is not None:
                await self.sock_connect(connected, path)
            return self.join_socket(connected, make_protocol)
        except BaseException:
            connected.close()
            raise

    async def sock_connect(self, connecting, address):
        """Connect a socket to an address. Raises OSError."""
        connecting.setblocking(False)
        try:
            connecting.connect(address)
        except BlockingIOError:
            await self.wait_connected(connecting)

    async def getaddrinfo(self, host, port, **options):
        """The system's look-up, in a thread of its own: it may take long."""
        done = self.create_future()

        def look_up():
            try:
                answer = socket.getaddrinfo(host, port, **options)
            except BaseException as error:
                self.call_soon_threadsafe(settle_future, done, None, error)
            else:
                self.call_soon_threadsafe(settle_future, done, answer, None)

        threading.Thread(target=look_up, name="gyrfalcon-resolver", daemon=True).start()
        self.attend(1)
        try:
            return await done
        finally:
            self.attend(-1)

    async def wait_connected(self, connecting):
        """Wait until a socket that connects has done so or failed."""
        cdef Connecting pollee = Connecting.__new__(Connecting)
        pollee.loop = self
        pollee.fd = connecting.fileno()
        pollee.writes = True
        pollee.done = done = self.create_future()
        self.pollees.append(pollee)
        self.stale = True
        try:
            await done
        finally:
            if pollee in self.pollees:
                self.pollees.remove(pollee)
                self.stale = True
        error = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    def join_socket(self, connected, make_protocol):
        """Make a protocol and the transport of a connected socket, which the transport takes over.
        Returns both."""
        protocol = make_protocol()
        cdef SocketTransport transport = SocketTransport.__new__(SocketTransport)
        transport.extra = {
            "peername": peer_name(connected),
            "sockname": connected.getsockname(),
        }
        transport.loop = self
        transport.protocol = protocol
        transport.pending = deque()
        transport.reads = True
        transport.fd = connected.detach()
        self.pollees.append(transport)
        self.stale = True
        protocol.connection_made(transport)
        return transport, protocol

    # ------------------------------------------------------------------ from threads

    def run(self, coroutine, timeout=None):
        """Run a coroutine inside, and wait for its result; TimeoutError after so many seconds."""
        cdef ThreadParking parking = make_parking(self)
        cdef double until = -1 if timeout is None else monotonic() + timeout
        self.enter()
        try:
            task = self.create_task(coroutine)
            task.add_done_callback(parking.fire_for)
            try:
                self.park(parking, until)
            except BaseException:
                task.cancel()
                raise
            if not task.done():
                task.cancel()
                raise TimeoutError(f"not done after {timeout:g} seconds")
            return task.result()
        finally:
            self.leave()

    def call(self, function, *arguments):
        """Call a function inside."""
        self.enter()
        try:
            return function(*arguments)
        finally:
            self.leave()

    def close(self):
        """Drop what is left. The loop cannot be used any more."""
        self.enter()
        try:
            for pollee in list(self.pollees):
                if isinstance(pollee, SocketTransport):
                    pollee.abort()
            self.run_turns()
            if not self.closed:
                self.closed = True
                self.timers.clear()
                self.doomed += (self.wake_read, self.wake_write)
                self.stale = True
        finally:
            self.leave()
        self.janitor.look_at(self)

    def abandon(self):
        """After a fork, in the child: what the parent goes on with is none of this process's."""
        self.closed = self.forked = True
        for pollee in self.pollees:
            if (<Pollee> pollee).fd >= 0:
                os.close((<Pollee> pollee).fd)
        self.pollees.clear()
        self.timers.clear()
        self.doomed.clear()


def settle_future(future, result, error):
    """End a future that may have been cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


cdef object peer_name(connected):
    try:
        return connected.getpeername()
    except OSError as error:
        # The peer is gone already: the first read will tell.
        if error.errno != errno.ENOTCONN:
            raise
        return None
