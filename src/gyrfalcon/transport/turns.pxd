
cdef class Turns:
    cdef object loop        # a weak reference
    cdef size_t share       # bytes, for each connection
    cdef list resting       # Drivers that had theirs in this turn
    cdef object begin_callback

    cdef int rest(self, object driver) except -1


cdef Turns turns_of(loop)
