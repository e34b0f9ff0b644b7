from libc.stdint cimport uint8_t

from .._core.connection cimport Connection
from .._core.stream cimport Sink, Stream

from .clock cimport Clock

cdef class Driver:
    cdef readonly Connection connection
    cdef readonly object loop
    cdef readonly Clock clock
    cdef readonly object transport
    cdef object buffer
    cdef uint8_t *buffer_data
    cdef bint paused
    cdef bint flush_scheduled
    cdef readonly bint lost
    cdef int held
    cdef object timer
    cdef double timer_at
    cdef object flush_callback
    # tasks may go on right here: the loop called, no task is running
    cdef bint runs_tasks
    cdef bint task_checked
    cdef str peer_name

    cdef Sink accept(self, Stream stream)
    cdef int made(self) except -1
    cdef int received(self) except -1
    cdef int ended(self, object error) except -1
    cdef int dispatch(self) except -1
    cdef int changed(self) except -1
    cdef int flush(self) except -1
    cdef int set_deadline(self, Stream stream, double deadline) except -1
    cdef int update_timer(self) except -1
    cdef bint may_run_tasks(self) except -1
    cdef int fail_stream(self, Stream stream) except -1
