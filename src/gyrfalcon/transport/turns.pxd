# A loop has other connections: one with more work than this, in seconds, goes on after them.
cdef double TURN_SECONDS


cdef class Turns:
    cdef object loop        # a weak reference
    cdef size_t share       # bytes, for each connection
    cdef list resting       # Drivers that had theirs in this turn
    cdef object begin_callback

    cdef int rest(self, object driver) except -1


cdef Turns turns_of(loop)
