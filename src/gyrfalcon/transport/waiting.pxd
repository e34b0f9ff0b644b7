from ..wire.exchange cimport Exchange
from ..wire.inflation cimport Inflation
from .driver cimport Driver


cdef class Waiting(Exchange):
    cdef object loop
    cdef Driver io                  # the connection's driver, None before there is one
    cdef list operations
    cdef bint is_put_off            # its next message is for the next turn of the loop

    cdef int poll(self, Operation operation) except -1
    cdef object finish(self, Operation operation)
    cdef int abandon(self, Operation operation) except -1
    cdef int wake(self) except -1
    cdef Inflation begin_message(self)
    cdef bint opens_message(self) except -1
    cdef bint run_errand(self) except -1
    cdef int pass_errand_on(self) except -1
    cdef Operation operation(self, int kind, object payload)


cdef object take_inflated(Inflation inflation)


cdef class Operation:
    cdef Waiting call
    cdef readonly int kind
    cdef object payload
    cdef bint over
    cdef Parking parking            # while a task waits for it

    cdef object step(self)
    cdef int leave(self) except -1


cdef class Parking:
    cdef Operation operation
    cdef public bint _asyncio_future_blocking
    cdef bint ended
    cdef bint stopped               # cancelled
    cdef object stop_message
    cdef object callback
    cdef object context

    cdef int fire(self) except -1
