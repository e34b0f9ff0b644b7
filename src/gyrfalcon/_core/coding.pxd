from libc.stdint cimport uint8_t

cdef double parse_timeout_text(const uint8_t *text, size_t length) noexcept
cpdef bytes format_timeout(double seconds)
cpdef bytes encode_text(str text, Py_ssize_t limit=*)
cpdef str decode_text(bytes data)
