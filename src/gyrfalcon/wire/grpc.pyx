"""gRPC over HTTP/2: the one wire so far. Rules: gRPC PROTOCOL-HTTP2, compression, statuscodes."""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from .._core.coding cimport decode_text, encode_text, format_timeout, parse_timeout_text
from .._core.connection cimport Connection
from .._core.fields cimport Fields, HeaderBlock
from .._core.nghttp2 cimport NGHTTP2_NV_FLAG_NO_INDEX, nghttp2_vec
from .._core.stream cimport CompressedMessage, Stream
from .exchange cimport Exchange, ServerWire
from .inflation cimport Inflation, begin_inflation

from .._core.coding import decode_binary, encode_binary
from ..rpc.compression import COMPRESSIONS
from ..rpc.errors import Internal, ResourceExhausted
from ..rpc.metadata import Metadata, pairs
from ..rpc.status import code_from_http, code_from_reset

cdef object new_metadata = Metadata._from_wire
cdef object get_compression = COMPRESSIONS.get

# A status text never takes more than this of the trailers: stock peers refuse lists over 8 KiB.
cdef Py_ssize_t TEXT_LIMIT = 4096
cdef Py_ssize_t SHORTEST_TEXT = 128
# libnghttp2 silently sends no header list over 64 KiB; gRPC's own fields stand beside these.
cdef size_t SENDABLE_METADATA = 48 * 1024

cdef Fields OK_TRAILERS = Fields([(b"grpc-status", b"0")])

cdef double BAD_TIMEOUT = -2

# The fields of a request or response that are gRPC's own; all others are the application's.
OWN_FIELDS = frozenset((
    b"te", b"content-type", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding",
    b"grpc-status", b"grpc-message", b"grpc-status-details-bin", b"grpc-message-type",
    b"content-length", b"date",
))


cdef inline bint equal(nghttp2_vec have, const char *text, size_t length) noexcept:
    return have.len == length and memcmp(have.base, text, length) == 0


cdef object decode_metadata(HeaderBlock block, bint lenient=False):
    """The application's fields of a block as Metadata.

    A -bin value that is no base64 raises ValueError, or is left out if `lenient`.
    """
    cdef list found = []
    cdef Py_ssize_t index
    cdef bytes name, value
    if block is None:
        return new_metadata(found)
    for index in range(block.count):
        name = block.name_at(index)
        if name[0] == c":" or name in OWN_FIELDS:
            continue
        value = block.value_at(index)
        key = name.decode("ascii", "backslashreplace")
        if name.endswith(b"-bin"):
            try:
                parts = decode_binary(value)
            except ValueError:
                if not lenient:
                    raise
                continue
            for part in parts:
                found.append((key, part))
        else:
            found.append((key, value.decode("ascii", "backslashreplace")))
    return new_metadata(found)


cdef int append_metadata(Fields fields, object metadata) except -1:
    cdef Py_ssize_t index
    cdef size_t size = 0
    for key, value in pairs(metadata):
        name = key.encode("ascii")
        if type(value) is bytes:
            fields.append(name, encode_binary(value), 0)
        else:
            fields.append(name, value.encode("ascii"), 0)
    for index in range(fields.count):
        size += fields.items[index].namelen + fields.items[index].valuelen
    if size > SENDABLE_METADATA:
        raise ResourceExhausted(
            f"metadata of {size} bytes cannot be sent: {SENDABLE_METADATA} is the most; "
            "peers take 8 KiB or 16 KiB by default")
    return 0


cdef object compress_message(object compression, bytes data):
    """A message as it goes: a CompressedMessage, or `data` itself where that is no larger."""
    cdef CompressedMessage message
    if not data:
        return data
    packed = compression.compress(data)
    if type(packed) is not bytes:
        raise TypeError(f"{compression.name} compresses to {type(packed).__name__}, not to bytes")
    if len(packed) >= len(data):
        return data
    message = CompressedMessage.__new__(CompressedMessage)
    message.data = packed
    return message


# ---------------------------------------------------------------------- server

cdef class GrpcServerWire(ServerWire):
    """The server's side of gRPC over HTTP/2."""

    def __cinit__(self):
        self.head_cache = {}
        self.plain_head = Fields([(b":status", b"200"), (b"content-type", b"application/grpc")])

    cdef int read_head(self, Exchange exchange) except -1:
        cdef HeaderBlock head = exchange.stream.head
        cdef Py_ssize_t index
        cdef nghttp2_vec name, value
        cdef bint posted = False
        cdef bint typed = False
        cdef bint binary = False
        cdef double timeout = -1
        cdef bytes encoding = None
        for index in range(head.count):
            name = head.name_view(index)
            if name.len == 7 and equal(name, b":method", 7):
                posted = equal(head.value_view(index), b"POST", 4)
            elif name.len == 12 and equal(name, b"content-type", 12):
                value = head.value_view(index)
                if value.len >= 16 and memcmp(value.base, b"application/grpc", 16) == 0:
                    if value.len == 16:
                        typed = True
                    elif value.base[16] == c"+" or value.base[16] == c";":
                        typed = True
                        exchange.subtype = read_subtype(head.value_at(index))
            elif name.len == 12 and equal(name, b"grpc-timeout", 12):
                value = head.value_view(index)
                timeout = parse_timeout_text(value.base, value.len)
                if timeout < 0:
                    timeout = BAD_TIMEOUT
            elif name.len == 13 and equal(name, b"grpc-encoding", 13):
                encoding = head.value_at(index)
            elif name.len == 20 and equal(name, b"grpc-accept-encoding", 20):
                exchange.accepted = head.value_at(index)
            elif name.len >= 4 and memcmp(name.base + name.len - 4, b"-bin", 4) == 0:
                binary = True
        if not posted:
            return self.refuse(exchange, b"405", b"gRPC calls are POST requests\n")
        if not typed:
            return self.refuse(
                exchange, b"415", b"gRPC calls have the content-type application/grpc\n")
        if exchange.stream.oversized_head:
            self.write_status(exchange, 8, "the metadata of the request is over the server's limit "
                              "(max_metadata_bytes)", None, None)
            return 0
        if timeout == BAD_TIMEOUT:
            self.write_status(exchange, 13, "malformed grpc-timeout: 1 to 8 digits and one of "
                              "the units H M S m u n are wanted", None, None)
            return 0
        if encoding is not None and not self.take_encoding(exchange, encoding):
            return 0
        if binary:
            try:
                decode_metadata(head)
            except ValueError as error:
                self.write_status(exchange, 13, f"malformed binary metadata: {error}", None, None)
                return 0
        exchange.timeout = timeout
        return 1

    def take_encoding(self, Exchange exchange, bytes encoding):
        if encoding == b"identity":
            return True
        compression = get_compression(encoding.decode("ascii", "backslashreplace"))
        if compression is None:
            metadata = Fields([(b"grpc-accept-encoding", COMPRESSIONS.accept_encoding.encode())])
            self.write_status_fields(
                exchange, 12,
                f"grpc-encoding {encoding[:64].decode('ascii', 'backslashreplace')!r} "
                f"is not supported; supported are {COMPRESSIONS.accept_encoding}", None, None,
                metadata)
            return False
        exchange.peer_compression = compression
        return True

    cdef int refuse(self, Exchange exchange, bytes status, bytes text) except -1:
        """An answer to what is no gRPC call: plain HTTP, and no handler."""
        cdef Fields head = Fields([
            (b":status", status), (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text))])
        if status == b"405":
            head.append(b"allow", b"POST", 0)
        exchange.status_written = True
        exchange.status_code = -1
        exchange.status_text = f"HTTP status {status.decode()}"
        # Plain HTTP clients send a request to its end; RST_STREAM may take the answer from them.
        exchange.stream.lingers = True
        if exchange.stream.head.get(b":method") == b"HEAD":
            # RFC 9110 9.3.2: the answer to HEAD has no body.
            exchange.stream.submit_head(head, None, True)
            return 0
        exchange.stream.submit_head(head, None, False)
        exchange.stream.append_copy(<const uint8_t *> <char *> text, len(text))
        exchange.stream.end_data(None, None)
        return 0

    cdef object read_message(self, Exchange exchange, object data, size_t limit):
        exchange.came_compressed = type(data) is not bytes
        if not exchange.came_compressed:
            return data
        return begin_inflation(data, exchange.peer_compression, limit).take()

    cdef Inflation begin_message(self, Exchange exchange, object data, size_t limit):
        if type(data) is bytes:
            return None
        return begin_inflation(data, exchange.peer_compression, limit)

    cdef object read_metadata(self, HeaderBlock block):
        return decode_metadata(block)

    cdef Fields head_for(self, Exchange exchange):
        """The fixed part of a response head: shared by all calls of one kind."""
        compression = exchange.own_compression
        if compression is None and exchange.subtype is None:
            return self.plain_head
        key = (exchange.subtype, compression)
        head = self.head_cache.get(key)
        if head is None:
            subtype = f"+{exchange.subtype}" if exchange.subtype else ""
            head = Fields([
                (b":status", b"200"), (b"content-type", f"application/grpc{subtype}".encode())])
            if compression is not None:
                (<Fields> head).append(b"grpc-encoding", compression.name.encode(), 0)
            if len(self.head_cache) < 64:
                self.head_cache[key] = head
        return head

    cdef int write_head(self, Exchange exchange, object metadata) except -1:
        cdef Fields extra = None
        if metadata:
            extra = Fields()
            append_metadata(extra, metadata)
        exchange.head_written = True
        return exchange.stream.submit_head(self.head_for(exchange), extra, False)

    cdef object pack_message(self, Exchange exchange, bytes data):
        if exchange.own_compression is None or exchange.plain:
            return data
        return compress_message(exchange.own_compression, data)

    cdef int write_message(self, Exchange exchange, object message) except -1:
        if type(message) is CompressedMessage:
            return exchange.stream.append_message((<CompressedMessage> message).data, True)
        return exchange.stream.append_message(<bytes> message, False)

    cdef int write_reply(self, Exchange exchange, bytes data, object metadata) except -1:
        cdef Fields extra = None
        cdef object message = self.pack_message(exchange, data)
        if metadata:
            extra = Fields()
            append_metadata(extra, metadata)
        if not exchange.head_written:
            self.write_head(exchange, None)
        self.write_message(exchange, message)
        exchange.status_written = True
        return exchange.stream.end_data(OK_TRAILERS, extra)

    cdef int write_status(self, Exchange exchange, int code, str message, object metadata,
                          bytes details) except -1:
        self.write_status_fields(exchange, code, message, metadata, details, None)
        return 0

    def write_status_fields(self, Exchange exchange, int code, str message, metadata,
                            bytes details, Fields more):
        cdef Fields extra
        if exchange.status_written:
            return
        exchange.status_code = code
        exchange.status_text = message
        if code == 0 and not message and not metadata and exchange.head_written:
            exchange.status_written = True
            exchange.stream.end_data(OK_TRAILERS, None)
            return
        extra = Fields()
        extra.append(b"grpc-status", b"%d" % code, 0)
        if more is not None:
            for name, value in more.pairs():
                extra.append(name, value, 0)
        if metadata:
            append_metadata(extra, metadata)
        if message or details:
            self.append_text(extra, exchange.stream, code, message, details)
        exchange.status_written = True
        if exchange.head_written:
            exchange.stream.end_data(extra, None)
        else:
            exchange.head_written = True
            exchange.stream.submit_head(self.head_for(exchange), extra, True)

    cdef int append_text(self, Fields fields, Stream stream, int code, str message,
                         bytes details) except -1:
        """The text and the details of a status, as far as the peer takes them."""
        cdef Py_ssize_t peer_limit = stream.peer_header_limit()
        cdef Py_ssize_t spent = 256     # kept for what else is in a head
        cdef Py_ssize_t index, room
        cdef bytes text = b""
        for index in range(fields.count):
            spent += fields.items[index].namelen + fields.items[index].valuelen + 32
        if message:
            room = min(min(peer_limit, 2 * TEXT_LIMIT) - spent, TEXT_LIMIT)
            text = encode_text(message, max(room, SHORTEST_TEXT))
        if details:
            # Loads protobuf, which the text alone does not need.
            from .trailers import fit_status
            text, details = fit_status(
                stream.head.get(b":path") or b"", code, text, details, peer_limit, spent)
        if text:
            fields.append(b"grpc-message", text, 0)
        if details:
            fields.append(b"grpc-status-details-bin", encode_binary(details), 0)
        return 0


cdef str read_subtype(bytes content_type):
    """The content-subtype: "proto" of "application/grpc+proto"."""
    cdef bytes subtype = content_type[16:].split(b";", 1)[0]
    # Compared without case, as media types are (RFC 9110 8.3.1).
    return subtype[1:].decode("ascii", "backslashreplace").strip().lower() if subtype else ""


# ---------------------------------------------------------------------- client

cdef class RequestTemplate:
    """The fixed part of the request heads of one method on one channel."""

    def __init__(self, bytes path not None, bytes authority not None, bytes scheme not None,
                 bytes user_agent not None, str subtype not None):
        self.path = path
        self.fields = Fields([
            (b":method", b"POST"), (b":scheme", scheme), (b":path", path),
            (b":authority", authority), (b"te", b"trailers"),
            (b"content-type", f"application/grpc+{subtype}".encode() if subtype != "proto"
             else b"application/grpc"),
            (b"user-agent", user_agent),
            (b"grpc-accept-encoding", COMPRESSIONS.accept_encoding.encode()),
        ])


cdef class Outcome:
    """How a call ended, as its trailers or the reset of its stream say."""


cdef Outcome make_outcome(int code, str message):
    cdef Outcome outcome = Outcome.__new__(Outcome)
    outcome.code = code
    outcome.message = message
    return outcome


cdef Stream open_request(Connection connection, RequestTemplate template, double timeout,
                         object metadata, object compression, int attempt):
    """Open a stream with the head of a request. `timeout`: seconds, below zero: none."""
    cdef Fields extra = None
    if timeout >= 0 or metadata or compression is not None or attempt:
        extra = Fields()
        if timeout >= 0:
            # Differs from call to call: in the HPACK table it would only push others out.
            extra.append(b"grpc-timeout", format_timeout(timeout), NGHTTP2_NV_FLAG_NO_INDEX)
        if compression is not None:
            extra.append(b"grpc-encoding", compression.name.encode(), 0)
        if attempt:
            extra.append(b"grpc-previous-rpc-attempts", b"%d" % attempt, 0)
        if metadata:
            append_metadata(extra, metadata)
    return connection.open_stream(template.fields, extra)


cdef object read_compression(HeaderBlock head):
    """The Compression that a response head names, None for identity;
    Internal when it is unknown."""
    cdef Py_ssize_t index = head.find(b"grpc-encoding", 13)
    cdef str name
    if index < 0:
        return None
    name = head.value_at(index).decode("ascii", "backslashreplace")
    if name == "identity":
        return None
    compression = get_compression(name)
    if compression is None:
        raise Internal(
            f"the server answers with grpc-encoding {name[:64]!r}, which was not offered")
    return compression


cdef Outcome read_outcome(Stream stream):
    """The status of an ended stream: from its trailers, its reset, or the HTTP status."""
    cdef HeaderBlock block
    cdef Py_ssize_t index
    cdef bytes value
    cdef Outcome outcome
    if stream.remote_ended:
        # In a head that messages follow, a status is none (PROTOCOL-HTTP2, Trailers-Only).
        block = stream.head if stream.trailers_only else stream.trailers
        index = -1 if block is None else block.find(b"grpc-status", 11)
        if index >= 0 and not stream.foreign:
            value = block.value_at(index)
            if value == b"0":
                if stream.fault is not None:
                    return make_outcome(stream.fault[0], stream.fault[1])
                outcome = make_outcome(0, "")
            elif value.isdigit() and len(value) < 9:
                outcome = make_outcome(int(value), "")
            else:
                return make_outcome(2, f"malformed grpc-status {value[:64]!r}")
            index = block.find(b"grpc-message", 12)
            if index >= 0:
                outcome.message = decode_text(block.value_at(index))
            index = block.find(b"grpc-status-details-bin", 23)
            if index >= 0:
                try:
                    outcome.details = decode_binary(block.value_at(index))[0]
                except ValueError:
                    outcome.details = None
            return outcome
        if stream.fault is None:
            return outcome_of_http(stream)
    elif stream.foreign:
        return outcome_of_http(stream)
    if stream.fault is not None:
        return make_outcome(stream.fault[0], stream.fault[1])
    return outcome_of_reset(stream)


cdef Outcome outcome_of_http(Stream stream):
    cdef bytes status = stream.head.get(b":status") or b""
    cdef bytes content_type = stream.head.get(b"content-type")
    if status == b"200":
        if content_type is not None and not content_type.startswith(b"application/grpc"):
            return make_outcome(
                2, f"the answer has the content-type {content_type[:64].decode('latin-1')!r}; "
                "is there a gRPC server at this address?")
        return make_outcome(2, "the server ended the stream without grpc-status")
    code = code_from_http(int(status)) if status.isdigit() else 2
    return make_outcome(
        code, f"the server answered HTTP status {status.decode('latin-1')} without grpc-status")


cdef Outcome outcome_of_reset(Stream stream):
    if stream.reset_code == -2:
        return make_outcome(14, "the connection was lost before the call ended")
    if stream.reset_code < 0:
        return make_outcome(2, "the call has not ended")
    code = int(code_from_reset(stream.reset_code))
    return make_outcome(
        code, f"the server reset the stream with HTTP/2 error code {stream.reset_code}")


GRPC = GrpcServerWire()
