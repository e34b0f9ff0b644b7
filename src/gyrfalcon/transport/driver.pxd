from libc.stdint cimport uint8_t, uint64_t

from .._core.connection cimport Connection
from .._core.stream cimport Sink, Stream

from .clock cimport Clock
from .lingering cimport Lingering

cdef extern from *:
    """
    #define gyr_add(counter, by) ((void)__atomic_fetch_add(counter, by, __ATOMIC_RELAXED))
    #define gyr_get(counter) __atomic_load_n(counter, __ATOMIC_RELAXED)
    """
    void add_atomically "gyr_add" (int *counter, int by) noexcept nogil
    int get_atomically "gyr_get" (int *counter) noexcept nogil

# Threads of blocking channels that wait for the GIL: they add themselves, and take themselves off
# when they have it.
cdef int wanting_gil

cdef object read_buffer(loop)


cdef class Driver:
    cdef readonly Connection connection
    cdef readonly object loop
    cdef readonly Clock clock
    cdef readonly object transport
    cdef object buffer
    cdef uint8_t *buffer_data
    cdef bint takes_turns           # long work is cut, so that other connections have theirs
    cdef size_t inflated            # bytes, since the connection had its share of a turn
    cdef bint spent                 # it had; messages wait for the next one
    cdef list put_off               # who has one of these; None: nobody
    cdef bytes backlog              # what was read and is for the next turn; None: nothing
    cdef Py_ssize_t backlog_at
    cdef bint paused
    cdef bint flush_scheduled
    cdef readonly bint lost
    cdef list leaving               # then: the streams that have not heard of it
    cdef object loss                # and why
    cdef bint over                  # all of them have
    cdef bint reported              # why the connection ends was logged
    cdef int held
    cdef object timer
    cdef double timer_at
    # what upkeep.pxd has numbers for: when each is due, 0: not; and the first of them
    cdef double due[8]
    cdef double next_due
    cdef double read_at             # (coarse) time of the last read
    cdef bint dormant               # nobody asks whether the peer is there until there are calls
    cdef object flush_callback
    # tasks may go on right here: the loop called, no task is running
    cdef bint runs_tasks
    cdef bint task_checked
    cdef object peer_name           # a Peer
    cdef Lingering lingering        # None: not a socket, or a loop that does so itself
    cdef object __weakref__
    cdef readonly long long id      # among all that is counted in this process; 0: not yet there
    # what was there at the last look, and the (coarse) time of the first look at more
    cdef uint64_t streams_seen
    cdef uint64_t sent_seen
    cdef uint64_t received_seen
    cdef double stream_at
    cdef double sent_at
    cdef double received_at
    cdef bint busy                  # there were streams at the last look
    cdef double idle_at             # when there were none any more
    cdef readonly uint64_t keepalives_sent

    cdef Sink accept(self, Stream stream)
    cdef bint may_linger(self) noexcept
    cdef bint may_tell_later(self) noexcept
    cdef int made(self) except -1
    cdef int received(self) except -1
    cdef int ended(self, object error) except -1
    cdef Py_ssize_t take(self, const uint8_t *data, Py_ssize_t size) except -1
    cdef int take_piece(self, const uint8_t *data, Py_ssize_t size) except -1
    cdef int note_inflated(self, size_t size) except -1
    cdef int put_off_until_next_turn(self, object waiting) except -1
    cdef int dispatch(self) except -1
    cdef int hand_out(self, list ready) except -1
    cdef int changed(self) except -1
    cdef int flush(self) except -1
    cdef int set_deadline(self, Stream stream, double deadline) except -1
    cdef int update_timer(self) except -1
    cdef int settle_timer(self) except -1
    cdef int set_due(self, int which, double when) except -1
    cdef int fall_due(self, double now) except -1
    cdef int find_next_due(self) except -1
    cdef int time_came(self, int which, double now) except -1
    cdef int head_begins(self) except -1
    cdef int output_waits(self) except -1
    cdef int calls_begin(self) except -1
    cdef bint may_run_tasks(self) except -1
    cdef int fail_stream(self, Stream stream) except -1
    cdef void note_activity(self, double now) noexcept
