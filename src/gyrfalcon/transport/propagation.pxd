from cpython.object cimport PyObject

from .clock cimport Clock
from .waiting cimport Waiting


cdef class CallScope:
    cdef double expiry              # by that clock; 0: none
    cdef Clock clock
    cdef int code                   # how the call ended that was served; 0 while it runs
    cdef str message
    cdef PyObject *first            # calls that run within, a list through their own pointers
    cdef PyObject *served           # the call itself; NULL when it is over

    cdef double expiry_by(self, Clock clock) except -1
    cdef int add(self, Nested call) except -1
    cdef int remove(self, Nested call) except -1
    cdef int end(self, int code, str message) except -1
    cdef object read_metadata(self)


cdef class Nested(Waiting):
    cdef CallScope scope            # while the call runs within one
    cdef PyObject *next_nested
    cdef PyObject *previous_nested

    cdef int scope_ended(self, int code, str message) except -1


# Scopes cost a server some 1,500 instructions a call, and are looked for by every call of a client:
# nobody pays where a process has only the one or the other.
cdef bint has_channels
cdef bint has_servers

cdef int channel_made() except -1
cdef int server_made() except -1
cdef CallScope current_scope()
cdef int enter_scope(CallScope scope) except -1
