cdef double LINGER


cdef class Lingering:
    cdef int pause          # waits that are slept through after one that did not pay
    cdef int left           # of these
    cdef object loop        # while it turns
    cdef object turn_callback
    cdef double until
    cdef bint came

    cdef bint worthwhile(self) noexcept
    cdef void paid(self) noexcept
    cdef void wasted(self) noexcept
    cpdef int note_read(self, loop) except -1


cdef Lingering lingering_of(loop)
