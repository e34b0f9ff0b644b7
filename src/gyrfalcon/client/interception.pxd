from ..transport.blocking cimport SharedLoop
from ..transport.interception cimport CallOutcome, Interception, Interceptors
from .call cimport Call, CallPlace


cdef class ClientInterceptors(Interceptors):
    pass


cdef class ClientInterception(Interception):
    cdef object rpc_method
    cdef object context             # a copy of the caller's: what interceptors run in
    cdef CallPlace channel
    cdef SharedLoop shared          # its loop, where threads share it; they run without it
    cdef object task                # in which they run, where one of them awaits
    cdef object timer               # until the call is made again
    cdef object misfit              # why the request could not be encoded
    cdef object request_metadata
    cdef object peer_name
    cdef double expiry
    cdef bint beginning             # shared: the thread that makes the call is at it
    cdef bint errand                # shared: they wait for a thread that runs them
    cdef bint outside               # shared: a thread is about that
    cdef unsigned long runner       # which
    cdef unsigned long inside       # the thread that has entered `context`
    cdef int handing                # shared: replies that threads are passing through `reply`
    cdef bint attempting            # an attempt was begun and is not over
    cdef bint told                  # the caller did not wait for the interceptors
    cdef bint delivered             # something of the reply was handed to the caller
    cdef list sent                  # the requests of a stream, encoded, while all are kept
    cdef bint overfull              # they are not
    cdef size_t sent_bytes

    cdef int tell_started(self) except -1
    cdef int end_attempt(self, CallOutcome outcome) except -1
    cdef int run(self) except -1
    cdef int advance_inside(self) except -1
    cdef int run_shared(self) except -1
    cdef int advance_outside(self) except -1
    cdef object pass_hooks(self, object message, bint is_reply)
    cdef object enter_own(self)
    cdef int leave_own(self, object context) except -1
    cdef bint step_out(self) except -1
    cdef int put_out(self) except -1
    cdef int settle(self) except -1
    cdef int make_call(self) except -1
    cdef int publish(self, Call call) except -1
    cdef int hold_back(self, Call call) except -1
    cdef int pause_call(self, Call call) except -1
    cdef int start_task(self) except -1
    cdef int begin_shared(self, SharedLoop loop) except -1
    cdef CallOutcome read_outcome(self, Call call)
    cdef list take_replies(self, Call call)
    cdef list take_all(self, Call call)
