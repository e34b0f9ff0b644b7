"""What a wire and the call layer share: one exchange on a stream, and what a wire can do with it.

A wire is how calls look on a connection. It reads the head of a request into an `Exchange`, turns
what came into message bytes, and writes heads, messages and statuses. The call layer asks for
nothing else and never looks which wire it is.
"""
cimport cython

from .._core.fields cimport HeaderBlock
from .._core.stream cimport Sink


@cython.no_gc_clear
cdef class Exchange(Sink):
    """One call on one stream, as its wire sees it."""

    def __cinit__(self):
        self.timeout = -1


cdef class ServerWire:
    """What every wire does on the server's side.
    A wire has no state: one object serves all calls."""

    cdef int read_head(self, Exchange exchange) except -1:
        """Read the request's head. 1: go on; 0: it was refused, and the refusal is written."""
        raise AssertionError("a wire reads heads")

    cdef object read_message(self, Exchange exchange, object data, size_t limit):
        """The bytes of one message that came, decompressed; an RpcError when it is none."""
        raise AssertionError("a wire reads messages")

    cdef Inflation begin_message(self, Exchange exchange, object data, size_t limit):
        """The same in parts; None when the message is not compressed."""
        raise AssertionError("a wire reads messages")

    cdef int write_head(self, Exchange exchange, object metadata) except -1:
        """The head of the response, with that Metadata or None."""
        raise AssertionError("a wire writes heads")

    cdef object pack_message(self, Exchange exchange, bytes data):
        """One message as `write_message` takes it, compressed or not (any thread)."""
        raise AssertionError("a wire packs messages")

    cdef int write_message(self, Exchange exchange, object message) except -1:
        """One message, packed."""
        raise AssertionError("a wire writes messages")

    cdef int write_reply(self, Exchange exchange, bytes data, object metadata) except -1:
        """One message and the status OK, with the head if that is not written: the unary case."""
        raise AssertionError("a wire writes replies")

    cdef int write_status(self, Exchange exchange, int code, str message, object metadata,
                          bytes details) except -1:
        """The end of the response; after it nothing is written."""
        raise AssertionError("a wire writes statuses")

    cdef object read_metadata(self, HeaderBlock block):
        """The application's part of a header block, as Metadata."""
        raise AssertionError("a wire reads metadata")
