from libc.stdint cimport uint8_t

from .nghttp2 cimport nghttp2_nv, nghttp2_rcbuf, nghttp2_vec


cdef struct Field:
    nghttp2_rcbuf *name
    nghttp2_rcbuf *value


cdef class Fields:
    """Header fields to send."""
    cdef nghttp2_nv *items
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef list keep

    cdef int append(self, bytes name, bytes value, uint8_t flags) except -1
    cdef int extend(self, Fields others) except -1


cdef class HeaderBlock:
    """Header fields that came, as libnghttp2 holds them: nothing is copied until somebody looks."""
    cdef Field first[14]
    cdef Field *items
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef readonly size_t size

    cdef int append(self, nghttp2_rcbuf *name, nghttp2_rcbuf *value) except -1
    cdef Py_ssize_t find(self, const char *name, size_t length) noexcept
    cdef nghttp2_vec name_view(self, Py_ssize_t index) noexcept
    cdef nghttp2_vec value_view(self, Py_ssize_t index) noexcept
    cdef bytes value_at(self, Py_ssize_t index)
    cdef bytes name_at(self, Py_ssize_t index)


cdef class ValueCache:
    """What was found for a header value, by the buffer that HPACK's table holds it in."""
    cdef nghttp2_rcbuf *keys[8]
    cdef list found
    cdef int next

    cdef object get(self, HeaderBlock block, Py_ssize_t index)
    cdef int put(self, HeaderBlock block, Py_ssize_t index, object found) except -1
