"""The asyncio driver: joins one core connection to one transport of an event loop.

It feeds what arrives to the core, hands the streams' events to their calls, and writes what a turn
of the loop produced in one piece. Everything happens in the loop's own thread.
"""
import asyncio
import logging
import threading

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from posix.unistd cimport usleep

from .._core.connection cimport Connection
from .._core.stream cimport Link, Sink, Stream

from .clock cimport SYSTEM, Clock
from .lingering cimport lingering_of
from .turns cimport SHARE, TURN_SECONDS, turns_of

from ..rpc.stats import CONNECTIONS, ConnectionStats

from ..rpc.peer import Peer
from .addresses import describe_address, describe_peer

cdef extern from "sched.h":
    int sched_yield()

log = logging.getLogger("gyrfalcon.transport")

# One read takes this much at most; a busy loop reads many small requests with one system call.
cdef Py_ssize_t READ_SIZE = 256 * 1024
# One write hands this much to the transport before it looks whether the transport wants more.
cdef size_t WRITE_SIZE = 256 * 1024
# What is given to the core at a time before it is looked how long that took; twice as much next
# time, where it was little.
cdef Py_ssize_t FIRST_PIECE = 8 * 1024
cdef double QUICK_SECONDS = TURN_SECONDS / 8
# Threads have turns too, of the processor after each piece. Those of blocking channels say that
# they wait for the GIL; for others it is given up as often as the interpreter does between
# bytecodes (sys.getswitchinterval). To wake a thread takes some 50 us here, which is what the
# kernel makes of any shorter sleep.
cdef int wanting_gil = 0
cdef double SWITCH_SECONDS = 0.005
cdef unsigned int THREAD_TURN_US = 50
# When a connection is lost so many of its streams hear of it in a turn: cancelling a handler takes
# some 40 us.
cdef Py_ssize_t TOLD_A_TURN = 32
# What sums of seconds in binary may be off by.
cdef double ROUNDING = 1e-9
cdef int INTERNAL_ERROR = 2
# A read of more than this is no answer that somebody waits for alone.
cdef Py_ssize_t SMALL_READ = 2048
cdef int DUES = 8
# upkeep.pxd, which stands on this module
cdef int STALL = 2
cdef int CLOSING = 7
# For the peer to take the last bytes.
cdef double CLOSE_SECONDS = 10.0

cdef object current_task = asyncio.current_task

_buffers = threading.local()


cdef object read_buffer(loop):
    """The buffer that all connections of a loop read into: none keeps anything in it. A loop that
    threads share has one of its own, the others run in one thread each."""
    own = getattr(loop, "read_buffer", None)
    if own is not None:
        return own
    try:
        return _buffers.buffer
    except AttributeError:
        _buffers.buffer = bytearray(READ_SIZE)
        return _buffers.buffer


cdef void let_threads_run() noexcept:
    """Release the GIL for long enough that a thread that waits for it has it."""
    with nogil:
        usleep(THREAD_TURN_US)


cdef class Driver:
    """One connection on one loop. Subclasses say what becomes of new streams and of its end."""

    def __init__(self, Connection connection not None, loop, Clock clock=None):
        self.connection = connection
        self.loop = loop
        self.clock = SYSTEM if clock is None else clock
        self.flush_callback = self.flush_now
        self.peer_name = Peer("unknown")

    # ------------------------------------------------------------------ for subclasses

    cdef Sink accept(self, Stream stream):
        """Who hears of a stream that the peer opened."""
        return None

    cdef int made(self) except -1:
        """The transport is there."""
        return 0

    cdef int received(self) except -1:
        """Bytes came and were dispatched."""
        return 0

    cdef int ended(self, object error) except -1:
        """The connection is gone."""
        return 0

    cdef bint may_linger(self) noexcept:
        """Whether the loop may poll without sleep for what comes next."""
        return True

    cdef bint may_tell_later(self) noexcept:
        """Whether streams of a connection that is lost may hear of it some turns later."""
        return False

    cdef int time_came(self, int which, double now) except -1:
        """What `set_due` was told is due now."""
        return 0

    cdef int head_begins(self) except -1:
        """A part of a header block came."""
        return 0

    cdef int output_waits(self) except -1:
        """The peer does not take all that there is for it, and nobody looks after that."""
        return 0

    cdef int calls_begin(self) except -1:
        """There are streams again while `dormant`."""
        return 0

    # ------------------------------------------------------------------ asyncio's protocol

    def connection_made(self, transport):
        """asyncio: the transport is there."""
        self.transport = transport
        # A loop that threads share has nobody else on it but the connections of one channel.
        self.takes_turns = getattr(self.loop, "read_buffer", None) is None
        self.peer_name = describe_peer(transport)
        self.id = CONNECTIONS.add(self)
        self.buffer = read_buffer(self.loop)
        self.buffer_data = <uint8_t *> PyByteArray_AS_STRING(self.buffer)
        if self.takes_turns and transport.get_extra_info("socket") is not None:
            self.lingering = lingering_of(self.loop)
        self.read_at = self.idle_at = self.clock.coarse()
        self.connection.settle(self.clock.now())
        self.made()
        self.flush()

    def get_buffer(self, sizehint):
        """asyncio: where to read to."""
        return self.buffer

    def buffer_updated(self, Py_ssize_t nbytes):
        """asyncio: so many bytes came."""
        cdef Py_ssize_t done
        if self.lost:
            return
        self.read_at = self.clock.coarse()
        if self.backlog is not None:
            # From a layer in between, which had more of what it has read.
            self.backlog = self.backlog[self.backlog_at:] + self.buffer[:nbytes]
            self.backlog_at = 0
            return
        done = self.take(self.buffer_data, nbytes)
        if done < nbytes:
            # Of a transport that was closed meanwhile nobody needs more.
            if not self.transport.is_closing():
                self.backlog = PyBytes_FromStringAndSize(
                    <char *> self.buffer_data + done, nbytes - done)
                self.backlog_at = 0
                self.transport.pause_reading()
                self.loop.call_soon(self.take_backlog)
        elif (nbytes <= SMALL_READ and self.lingering is not None and self.may_linger()
                and not self.connection.closing):
            self.lingering.note_read(self.loop)

    def take_backlog(self):
        """The loop has turned: go on with what was read before."""
        cdef bytes backlog = self.backlog
        if backlog is None or self.lost:
            return
        self.backlog_at += self.take(
            <const uint8_t *> PyBytes_AS_STRING(backlog) + self.backlog_at,
            len(backlog) - self.backlog_at)
        if self.backlog_at < len(backlog):
            self.loop.call_soon(self.take_backlog)
            return
        self.backlog = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    cdef Py_ssize_t take(self, const uint8_t *data, Py_ssize_t size) except -1:
        """Give bytes to the core and hand out what they say: as many as fit into a turn, or where
        threads share the loop all of them, with turns for other threads in between. How many."""
        cdef Py_ssize_t piece = FIRST_PIECE, done = 0
        cdef double began = 0, before = 0, now
        if size <= piece:
            piece = size
        else:
            began = before = self.clock.now()
        self.held += 1
        self.runs_tasks = True
        self.task_checked = False
        try:
            while True:
                piece = min(piece, size - done)
                self.take_piece(data + done, piece)
                done += piece
                if done == size or self.connection.closing or self.lost:
                    done = size
                    break
                now = self.clock.now()
                if not self.takes_turns:
                    if get_atomically(&wanting_gil) or now - began > SWITCH_SECONDS:
                        let_threads_run()
                        began = now
                    else:
                        sched_yield()
                elif now - began > TURN_SECONDS and not self.transport.is_closing():
                    break
                if now - before < QUICK_SECONDS:
                    piece *= 2
                before = now
            self.received()
        finally:
            self.runs_tasks = False
            self.held -= 1
        self.flush()
        if self.connection.closing:
            self.finish()
        return done

    cdef int take_piece(self, const uint8_t *data, Py_ssize_t size) except -1:
        cdef Py_ssize_t done = self.connection.receive_bytes(data, <size_t> size)
        while self.connection.is_overdrawn():
            self.connection.settle(self.clock.now())
            done += self.connection.receive_bytes(data + done, <size_t> (size - done))
        if self.connection.header_stream != NULL:
            self.head_begins()
        self.note_activity(self.read_at)
        return self.dispatch()

    def eof_received(self):
        """asyncio: the peer will send nothing more;
        a half-closed HTTP/2 connection is of no use."""
        return False

    def connection_lost(self, exc):
        """asyncio: the transport is gone."""
        if self.lost:
            return
        if self.backlog is not None and not self.connection.closing:
            # It came before the end.
            self.held += 1
            try:
                self.take_piece(<const uint8_t *> PyBytes_AS_STRING(self.backlog) + self.backlog_at,
                                len(self.backlog) - self.backlog_at)
                self.received()
            finally:
                self.held -= 1
        self.backlog = None
        self.lost = True
        CONNECTIONS.remove(self.id)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.connection.close()
        self.leaving = self.connection.take_ready_streams()
        self.loss = exc
        self.tell_streams()

    def tell_streams(self):
        """The connection is lost: tell its streams, and when all of them know, its owner."""
        cdef list told = self.leaving
        if len(told) > TOLD_A_TURN and self.takes_turns and self.may_tell_later():
            self.leaving = told[TOLD_A_TURN:]
            self.hand_out(told[:TOLD_A_TURN])
            self.loop.call_soon(self.tell_streams)
            return
        self.leaving = None
        self.hand_out(told)
        # Of those, if they were still to be taken on.
        self.dispatch()
        loss, self.loss = self.loss, None
        self.over = True
        self.ended(loss)
        self.flush_callback = None

    def pause_writing(self):
        """asyncio: the peer takes no more for now."""
        self.paused = True

    def resume_writing(self):
        """asyncio: it does again."""
        self.paused = False
        self.flush()

    # ------------------------------------------------------------------ messages that take long

    cdef int note_inflated(self, size_t size) except -1:
        """So much of a message was inflated on the loop."""
        self.inflated += size
        if self.inflated >= SHARE and not self.spent:
            self.spent = True
            turns_of(self.loop).rest(self)
        return 0

    cdef int put_off_until_next_turn(self, object waiting) except -1:
        """Have `waiting._begin_turn()` called when there is a new share; `spent` now."""
        if self.put_off is None:
            self.put_off = []
        self.put_off.append(waiting)
        return 0

    def begin_turn(self):
        """The connection has a new share of the loop's turns."""
        cdef list put_off = self.put_off
        self.spent = False
        self.inflated = 0
        self.put_off = None
        for waiting in put_off or ():
            try:
                waiting._begin_turn()
            except Exception:
                # The others are to hear of it all the same.
                log.exception("%r: internal error of %r", self, waiting)

    # ------------------------------------------------------------------ events and output

    cdef int dispatch(self) except -1:
        cdef list ready
        while True:
            ready = self.connection.take_ready_streams()
            if not ready:
                break
            self.hand_out(ready)
        self.update_timer()
        return 0

    cdef int hand_out(self, list ready) except -1:
        """Give these streams' events to their sinks."""
        cdef Stream stream
        cdef Sink sink
        cdef int events
        for stream in ready:
            events = stream.events
            stream.events = 0
            try:
                # Held: what happens in there may drop the last other reference.
                sink = stream.sink
                if sink is None:
                    sink = stream.sink = self.accept(stream)
                    if sink is None:
                        continue
                sink.progress(stream, events)
            except Exception:
                self.fail_stream(stream)
        return 0

    cdef bint may_run_tasks(self) except -1:
        """Whether a task may run inside this callback of the loop's
        (asyncio runs one at a time)."""
        if self.runs_tasks and not self.task_checked:
            self.task_checked = True
            # A transport could in principle be fed by a task.
            self.runs_tasks = current_task(self.loop) is None
        return self.runs_tasks

    cdef int fail_stream(self, Stream stream) except -1:
        log.exception("stream %d of %r: internal error; the stream is reset", stream.id, self)
        stream.reset(INTERNAL_ERROR)
        return 0

    cdef int changed(self) except -1:
        """Something waits to be sent: write it at the end of this turn of the loop."""
        if not (self.held or self.flush_scheduled or self.lost):
            self.flush_scheduled = True
            self.loop.call_soon(self.flush_callback)
        return 0

    def flush_now(self):
        """Write what waits (scheduled by `changed`)."""
        self.flush_scheduled = False
        self.flush()
        if not self.lost and self.connection.closing:
            self.finish()

    cdef int flush(self) except -1:
        cdef bytes output
        if self.transport is None or self.lost:
            return 0
        while self.connection.link.dirty and not self.paused:
            output = self.connection.take_output_bytes(WRITE_SIZE)
            if not output:
                break
            self.transport.write(output)
        self.note_activity(0)
        if self.connection.link.queued and not self.due[STALL]:
            self.output_waits()
        if self.dormant and self.connection.open_streams:
            self.calls_begin()
        if self.connection.ready:
            # Streams fell under their low mark, or ended with what was written.
            self.held += 1
            try:
                self.dispatch()
            finally:
                self.held -= 1
            if self.connection.link.dirty:
                self.changed()
        elif self.connection.heap_length:
            self.update_timer()
        if self.connection.draining and self.connection.closing:
            self.finish()
        return 0

    def finish(self):
        """HTTP/2 is done with this connection: close the transport after what was written."""
        if self.reported:
            pass
        elif self.connection.limit is not None:
            log.warning("%r: closed: over the limit %s", self, self.connection.failure)
        elif self.connection.failure is not None:
            log.info("%r: closed: %s", self, self.connection.failure)
        self.reported = True
        if self.transport is not None and not self.lost:
            self.transport.close()
            if not self.due[CLOSING]:
                self.set_due(CLOSING, self.clock.now() + CLOSE_SECONDS)

    def abort(self):
        """Drop the connection; its streams end as lost."""
        if self.transport is not None and not self.lost:
            self.transport.abort()

    # ------------------------------------------------------------------ deadlines

    cdef int set_deadline(self, Stream stream, double deadline) except -1:
        self.connection.arm(stream, deadline)
        if not self.held:
            self.update_timer()
        return 0

    cdef int update_timer(self) except -1:
        """Set the timer, if something is due before it fires."""
        cdef double first = self.next_due
        cdef double deadline
        if self.connection.heap_length:
            deadline = (<Stream> self.connection.heap[0]).deadline
            if first == 0 or deadline < first:
                first = deadline
        if first == 0 or self.lost:
            return 0
        if self.timer is not None:
            if self.timer_at <= first:
                return 0
            self.timer.cancel()
        self.timer_at = first
        self.timer = self.clock.call_at(self.loop, first, self.on_timer)
        return 0

    def on_timer(self):
        """The first deadline is due, or something else of this connection."""
        cdef double now
        self.timer = None
        if self.lost:
            return
        now = self.clock.now() + ROUNDING
        self.connection.on_timeout(now)
        self.held += 1
        try:
            if self.next_due and self.next_due <= now:
                self.fall_due(now)
            self.dispatch()
        finally:
            self.held -= 1
        self.flush()
        if not self.lost and self.connection.closing:
            self.finish()
        self.update_timer()

    # What is due by the clock besides: each has its number, and all of them the one timer.

    cdef int set_due(self, int which, double when) except -1:
        """Have `time_came(which)` called then; 0: not any more, though the timer stays."""
        self.due[which] = when
        if when and (self.next_due == 0 or when < self.next_due):
            self.next_due = when
            self.update_timer()
        return 0

    cdef int fall_due(self, double now) except -1:
        cdef int which
        for which in range(DUES):
            if self.due[which] and self.due[which] <= now:
                self.due[which] = 0
                self.time_came(which, now)
        return self.find_next_due()

    cdef int find_next_due(self) except -1:
        cdef int which
        self.next_due = 0
        for which in range(DUES):
            if self.due[which] and (self.next_due == 0 or self.due[which] < self.next_due):
                self.next_due = self.due[which]
        return 0

    cdef int settle_timer(self) except -1:
        """Let the timer go that is of no use any more."""
        self.find_next_due()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return self.update_timer()

    # ------------------------------------------------------------------ figures

    cdef void note_activity(self, double now) noexcept:
        """Note the time of what happened since the last look: once for all that came together.
        `now` is coarse; 0: not known."""
        cdef Link *link = &self.connection.link
        cdef bint busy = self.connection.open_streams != 0
        if (link.messages_sent == self.sent_seen and link.messages_received == self.received_seen
                and link.streams_started == self.streams_seen and busy == self.busy):
            return
        if now == 0:
            now = self.clock.coarse()
        if busy != self.busy:
            self.busy = busy
            self.idle_at = now
        if link.messages_sent != self.sent_seen:
            self.sent_seen = link.messages_sent
            self.sent_at = now
        if link.messages_received != self.received_seen:
            self.received_seen = link.messages_received
            self.received_at = now
        if link.streams_started != self.streams_seen:
            if link.streams_started > self.streams_seen:
                self.stream_at = now
            self.streams_seen = link.streams_started

    def stats(self):
        """The figures of this connection, as rpc.stats.ConnectionStats. Any thread."""
        cdef Connection connection = self.connection
        cdef object opened = self.clock.wall_time(self.stream_at)
        return ConnectionStats(
            id=self.id,
            local=describe_address(self.transport.get_extra_info("sockname")),
            remote=self.peer_name,
            streams_started=connection.streams_started,
            streams_succeeded=connection.streams_succeeded,
            streams_failed=connection.streams_failed,
            messages_sent=connection.messages_sent,
            messages_received=connection.messages_received,
            keepalives_sent=self.keepalives_sent,
            last_local_stream=None if connection.is_server else opened,
            last_remote_stream=opened if connection.is_server else None,
            last_message_sent=self.clock.wall_time(self.sent_at),
            last_message_received=self.clock.wall_time(self.received_at),
            send_window=connection.send_window,
            receive_window=connection.receive_window,
            received_goaway=connection.goaway_code if connection.goaway_received else None,
            peer_max_concurrent_streams=connection.peer_max_concurrent_streams,
            tls=self.transport.get_extra_info("tls"),
            limits=connection.limits,
        )

    @property
    def peer(self):
        """The other end: "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:PATH"; "unknown" before
        there is a connection."""
        return self.peer_name

    @property
    def quiet_since(self):
        """When the last stream ended, by the clock, some milliseconds coarse (or the connection
        began, when there was none); None while there are streams."""
        return None if self.connection.open_streams else self.idle_at

    def __repr__(self):
        return f"<{type(self).__name__} peer={self.peer_name}>"
