from ..client.call cimport Call as AsyncCall
from ..transport.blocking cimport SharedLoop


cdef class Place:
    cdef SharedLoop loop            # None before the first call
    cdef object inner               # the asyncio Channel that runs on it
    cdef int epoch                  # counts the processes that a fork made of this one
    cdef bint closed

    cdef SharedLoop bind(self)


cdef class Call:
    cdef AsyncCall call
    cdef SharedLoop loop
    cdef object channel

    cdef object step(self, int kind, object payload)


cdef object adopt(Call made, AsyncCall call, SharedLoop loop, object channel)
cdef object run_step(SharedLoop loop, AsyncCall call, int kind, object payload, double until)
