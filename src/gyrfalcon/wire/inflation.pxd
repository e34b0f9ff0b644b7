cdef class Inflation:
    cdef object compression
    cdef size_t limit
    cdef object steps           # the generator of compression.inflate(); None: it has none
    cdef bytes data             # then
    cdef size_t size            # of the parts so far
    cdef object message
    cdef object error
    cdef readonly bint done

    cdef size_t advance(self) except? 0
    cdef size_t finish(self, object message) except? 0
    cdef object take(self)


cdef Inflation begin_inflation(object data, object compression, size_t limit)
