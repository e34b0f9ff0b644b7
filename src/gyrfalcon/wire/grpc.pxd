from .._core.connection cimport Connection
from .._core.fields cimport Fields, HeaderBlock
from .._core.stream cimport Stream
from .exchange cimport Exchange, ServerWire

cdef object decode_metadata(HeaderBlock block, bint lenient=*)
cdef int append_metadata(Fields fields, object metadata) except -1

cdef class GrpcServerWire(ServerWire):
    cdef Fields plain_head
    cdef dict head_cache
    cdef Fields head_for(self, Exchange exchange)
    cdef int refuse(self, Exchange exchange, bytes status, bytes text) except -1
    cdef int append_text(self, Fields fields, Stream stream, int code, str message,
                         bytes details) except -1

cdef class RequestTemplate:
    cdef readonly Fields fields
    cdef readonly bytes path

cdef class Outcome:
    cdef readonly int code
    cdef readonly str message
    cdef readonly bytes details

cdef object read_compression(HeaderBlock head)
cdef Outcome read_outcome(Stream stream)
cdef object compress_message(object compression, bytes data)
cdef Stream open_request(Connection connection, RequestTemplate template, double timeout,
                         object metadata, object compression, int attempt)
