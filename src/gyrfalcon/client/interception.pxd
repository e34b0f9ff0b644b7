from ..transport.clock cimport Clock
from ..transport.interception cimport CallOutcome, Interception, Interceptors
from .call cimport Call


cdef class ClientInterceptors(Interceptors):
    pass


cdef class ClientInterception(Interception):
    cdef object rpc_method
    cdef object context             # a copy of the caller's: what interceptors run in
    cdef object loop
    cdef object channel
    cdef Clock clock
    cdef object task                # in which they run, where one of them awaits
    cdef object timer               # until the call is made again
    cdef object message             # the request of a call with one
    cdef object misfit              # why the request could not be encoded
    cdef object request_metadata
    cdef object peer_name
    cdef double expiry
    cdef CallOutcome as_it_came     # the outcome of the attempt itself
    cdef bint attempting            # an attempt was begun and is not over
    cdef bint told                  # the caller did not wait for the interceptors
    cdef bint delivered             # something of the reply was handed to the caller
    cdef list sent                  # the requests of a stream, encoded; None: not all are kept
    cdef size_t sent_bytes

    cdef int end_attempt(self, CallOutcome outcome) except -1
    cdef int run(self) except -1
    cdef int settle(self) except -1
    cdef int make_call(self) except -1
    cdef int publish(self, Call call) except -1
    cdef int pause_call(self, Call call) except -1
    cdef int start_task(self) except -1
    cdef CallOutcome read_outcome(self, Call call)
    cdef list take_replies(self, Call call)
