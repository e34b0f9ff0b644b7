"""Messages that came compressed: inflated in parts, between which other work may be done."""
from cpython.object cimport PyObject

from .._core.python cimport PYGEN_NEXT, PyIter_Send
from .._core.stream cimport CompressedMessage

from ..rpc.compression import MessageTooLargeError
from ..rpc.errors import Internal, ResourceExhausted, RpcError

cdef extern from *:
    """
    static PyObject *gyr_owned(PyObject *object) { return object; }
    """
    object owned "gyr_owned" (PyObject *object)

# Of what is inflated at a time (rpc.compression).
cdef size_t PART = 256 * 1024


cdef Inflation begin_inflation(object data, object compression, size_t limit):
    """The inflation of a CompressedMessage, no further than `limit` + 1; nothing is done yet."""
    cdef Inflation inflation = Inflation.__new__(Inflation)
    inflation.compression = compression
    inflation.limit = limit
    inflation.data = (<CompressedMessage> data).data
    return inflation


cdef class Inflation:
    """One message, inflated in parts."""

    cdef size_t advance(self) except? 0:
        """Inflate the next part; its size in bytes, or what it can have been at most."""
        cdef PyObject *result = NULL
        cdef size_t size, most = self.limit
        try:
            if self.steps is None:
                check_compression(self.compression)
                if not hasattr(self.compression, "inflate"):
                    return self.finish(
                        self.compression.decompress(self.data, <object> self.limit))
                self.steps = self.compression.inflate(self.data, <object> self.limit)
            most = min(most, PART)
            outcome = PyIter_Send(self.steps, None, &result)
            found = owned(result)
            if outcome == PYGEN_NEXT:
                size = found
                self.size += size
                return size
            return self.finish(found)
        except Exception as error:
            self.error = explain(error, self.limit)
            self.done = True
            self.steps = None
            return most

    cdef size_t finish(self, object message) except? 0:
        """The message is whole; the size of its last part."""
        self.message = check_message(message, self.compression, self.limit)
        self.done = True
        self.steps = None
        return len(message) - self.size

    cdef object take(self):
        """The message, or its RpcError."""
        while not self.done:
            self.advance()
        if self.error is not None:
            raise self.error
        return self.message


cdef int check_compression(object compression) except -1:
    if compression is None:
        raise Internal("a message has the compressed flag set and the call has no grpc-encoding")
    return 0


cdef object check_message(object message, object compression, size_t limit):
    """What a compression gave for a message, if it is one and not over the limit."""
    if type(message) is not bytes:
        raise Internal(f"{compression.name} gave {type(message).__name__} for a message, not bytes")
    if <size_t> len(message) > limit:
        raise ResourceExhausted(f"a message of {len(message)} bytes is over "
                                f"max_receive_bytes={limit}")
    return message


cdef object explain(object error, size_t limit):
    """The RpcError for what happened."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, MessageTooLargeError):
        return ResourceExhausted(f"a message is over max_receive_bytes={limit}: {error}")
    # CorruptMessageError, or what a program's own Compression stumbles over.
    return Internal(f"a message could not be decompressed: {error}")
