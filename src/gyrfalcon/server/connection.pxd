from libc.stdint cimport uint64_t

from .._core.fields cimport ValueCache
from .._core.stream cimport Stream
from ..transport.upkeep cimport Rules
from .call cimport CallHost, Handler, ServerContext
from .pool cimport Job, WorkerPool


cdef class CallLimit:
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t running


cdef class ServerDriver(CallHost):
    cdef readonly object server
    cdef readonly double handshake_deadline     # by the clock; 0: none
    cdef bint shaken                # the client's preface and SETTINGS came
    cdef bint aged                  # over max_connection_age
    cdef uint64_t pings_seen
    cdef double last_ping
    cdef int strikes
    cdef CallLimit calls            # of all connections together, or None
    cdef object wire
    cdef dict handlers
    cdef object context
    cdef object waiting             # deque of calls that want to run
    cdef bint worker_scheduled
    cdef ValueCache paths
    cdef Py_ssize_t max_running
    cdef Py_ssize_t stream_limit    # max_running, unless every stream is to be looked at
    cdef object refusal             # asked then
    cdef object compression
    cdef WorkerPool pool            # for `def` handlers, once there was a call of one

    cdef bint refuses(self) except -1
    cdef int shake_hands(self) except -1
    cdef int judge_pings(self) except -1
    cdef int look_whether_idle(self, double now) except -1
    cdef int grow_old(self, double now) except -1
    cdef int end_calls(self, int code, str reason) except -1
    cdef Handler find_handler(self, Stream stream)
    cdef int start_in_thread(self, ServerContext call) except -1
    cdef bint put_job(self, Job job) except -1
    cdef int put_awaited(self, ServerContext call) except -1
    cdef int spawn(self) except -1


cdef class Worker:
    cdef ServerDriver driver
    cdef ServerContext current
    cdef object task
    cdef bint parked

    cdef object advance(self, object error)
