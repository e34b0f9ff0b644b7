from ..transport.interception cimport CallOutcome, Interception, Interceptors
from .call cimport ServerContext


cdef class ServerInterceptors(Interceptors):
    pass


cdef class ServerInterception(Interception):
    cdef ServerContext call
    cdef bytes encoded              # the handler's one reply, where no hook may change it

    cdef object take_request(self)
    cdef object start(self)
    cdef CallOutcome as_it_ended(self)
    cdef CallOutcome failed_inside(self, object error)
    cdef int handled(self, object reply, object error) except -1
    cdef CallOutcome outcome_of_handler(self, object error)
    cdef int write(self) except -1
    cdef int tell_answered(self) except -1
