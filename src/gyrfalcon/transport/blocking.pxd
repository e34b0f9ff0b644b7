from libc.stdint cimport uint8_t

from .lingering cimport Lingering
from .waiting cimport Operation, Parking, Waiting


cdef class ThreadParking(Parking):
    cdef unsigned long thread
    cdef SharedLoop loop
    cdef object gate                # what its thread sleeps at, a lock; None while it is awake
    cdef int wake_thread(self) except -1


cdef class Turn:
    cdef object callback
    cdef object arguments
    cdef object context
    cdef SharedLoop loop            # of a timer
    cdef double due
    cdef bint dropped

    cdef int run(self) except -1


cdef class Pollee:
    cdef SharedLoop loop
    cdef int fd
    cdef bint reads
    cdef bint writes
    cdef int ready(self, bint readable, bint writable, Py_ssize_t got, int error) except -1


cdef class SocketTransport(Pollee):
    cdef object protocol            # a Driver
    cdef object extra
    cdef object pending             # deque of memoryviews that the socket did not take
    cdef Py_ssize_t pending_bytes
    cdef bint paused
    cdef bint unheard               # the peer has closed: nothing is sent any more
    cdef bint closing
    cdef bint over

    cdef int send_pending(self) except -1
    cdef int fail(self, int error) except -1
    cdef int end(self, object error) except -1


cdef class SharedLoop:
    cdef void *mutex
    cdef unsigned long owner        # the thread inside; 0: none
    cdef int depth
    cdef int busy                   # inside turns, timers or events: the loop cannot be left
    cdef object outer_loop          # the running loop of that thread before
    cdef object turns               # deque of Turns to run before the thread leaves
    cdef object inbox               # deque of Turns from anywhere
    cdef list timers                # heap of (when, number, Turn)
    cdef Py_ssize_t timer_count
    cdef Py_ssize_t dropped_timers
    cdef readonly object read_buffer
    cdef uint8_t *read_data
    cdef list pollees
    cdef list doomed                # descriptors to close where nobody polls them
    cdef list followers
    cdef unsigned long leader       # the thread that reads for all; 0: none
    cdef readonly bint kept         # the janitor reads
    cdef bint noted                 # the janitor knows to look after it when it was left
    cdef readonly double left_at
    cdef Py_ssize_t unattended      # steps that nobody waits for: of futures and queues
    cdef bint polling
    cdef bint stale                 # what is polled is not what should be
    cdef bint poked
    cdef double polls_until
    cdef Lingering lingering        # of the leaders
    cdef int wake_read
    cdef int wake_write
    cdef bint closed
    cdef bint forked                # this process is a child of the loop's
    cdef object janitor
    cdef object __weakref__

    cdef int enter(self) except -1
    cdef int leave(self) except -1
    cdef bint step_out(self) except -1
    cdef int step_in(self) except -1
    cdef int tidy(self) except -1
    cdef int lock(self) except -1
    cdef int unlock(self) except -1
    cdef int run_turns(self) except -1
    cdef int poke(self) except -1
    cdef int settle(self) except -1
    cdef int wait(self, Waiting call, Operation operation, double until) except -1
    cdef int park(self, ThreadParking parking, double until) except -1
    cdef int follow(self, ThreadParking parking, double until) except -1
    cdef int hand_over(self) except -1
    cdef int turn(self, double until) except -1
    cdef double run_timers(self) except? -2
    cdef int attend(self, Py_ssize_t change) except -1
    cdef int close_doomed(self) except -1
