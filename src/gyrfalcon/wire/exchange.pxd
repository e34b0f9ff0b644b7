from .._core.connection cimport Connection
from .._core.fields cimport HeaderBlock
from .._core.stream cimport Sink, Stream
from .inflation cimport Inflation


cdef class Exchange(Sink):
    cdef Stream stream
    cdef ServerWire wire
    cdef double timeout             # seconds, below zero: none
    cdef object peer_compression    # of the messages that come; None: identity
    cdef object own_compression     # of the messages that go; None: identity
    cdef bint plain                 # the messages that go are left uncompressed all the same
    cdef bint came_compressed       # the message that was read last
    cdef Inflation inflation        # of the message that comes next; None: not begun
    cdef object accepted            # what the peer said it accepts, bytes
    cdef str subtype                # content-subtype ("" means the default)
    cdef bint head_written
    cdef bint status_written
    cdef int status_code            # what was written; below zero: an answer to what is no call
    cdef str status_text

cdef class ServerWire:
    cdef int read_head(self, Exchange exchange) except -1
    cdef object read_message(self, Exchange exchange, object data, size_t limit)
    cdef Inflation begin_message(self, Exchange exchange, object data, size_t limit)
    cdef int write_head(self, Exchange exchange, object metadata) except -1
    cdef object pack_message(self, Exchange exchange, bytes data)
    cdef int write_message(self, Exchange exchange, object message) except -1
    cdef int write_reply(self, Exchange exchange, bytes data, object metadata) except -1
    cdef int write_status(self, Exchange exchange, int code, str message, object metadata,
                          bytes details) except -1
    cdef object read_metadata(self, HeaderBlock block)
