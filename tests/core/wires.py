"""Two connections joined in memory, and frames made by hand for what no connection would send."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import Any

from hpack import Encoder

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import CompressedMessage, Stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST_PAIRS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/shop.Orders/Get"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]
RESPONSE_PAIRS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
REQUEST = Fields(REQUEST_PAIRS)
RESPONSE = Fields(RESPONSE_PAIRS)
OK = Fields([(b"grpc-status", b"0")])


class Event(enum.IntFlag):
    """The bits of Stream.take_events()."""

    HEAD = 1
    MESSAGE = 2
    END = 4
    FAULT = 8
    CLOSED = 16
    WRITABLE = 32
    DEADLINE = 64
    UNSENT = 128


class FrameType(enum.IntEnum):
    """RFC 9113 section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM = 1
ACK = 1
END_HEADERS = 4


def frame(kind: FrameType, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload
    )


def frames(data: bytes) -> list[tuple[FrameType, int, int, bytes]]:
    """What is in a run of whole frames: (type, flags, stream, payload)."""
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        kind, flags, stream_id = struct.unpack(">BBI", data[3:9])
        found.append((FrameType(kind), flags, stream_id, data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def message(data: bytes, flag: int = 0) -> bytes:
    """A length-prefixed message (gRPC PROTOCOL-HTTP2, Length-Prefixed-Message)."""
    return struct.pack(">BI", flag, len(data)) + data


def head(
    stream_id: int, pairs: Iterable[tuple[bytes, bytes]] = REQUEST_PAIRS, *, end: bool = False
) -> bytes:
    """A HEADERS frame by an encoder of its own: it uses no dynamic table."""
    block: bytes = Encoder().encode([(name, value, True) for name, value in pairs])
    return frame(FrameType.HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, block)


def pump(client: Connection, server: Connection, limit: int = 0xFFFFFFFF) -> None:
    """Carry bytes both ways until neither side has any."""
    while True:
        there, back = client.take_output(limit), server.take_output(limit)
        if not there and not back:
            return
        server.receive(there)
        client.receive(back)


def join(*, client: dict[str, Any] | None = None, **server: Any) -> tuple[Connection, Connection]:
    """A client and a server that have exchanged their settings; keywords are the server's."""
    pair = Connection(server=False, **(client or {})), Connection(server=True, **server)
    pump(*pair)
    return pair


def listening(**settings: Any) -> Connection:
    """A server whose peer, by hand, has sent its preface and acknowledged the settings."""
    server = Connection(server=True, **settings)
    server.receive(PREFACE + frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.SETTINGS, ACK, 0))
    server.take_output()
    return server


def messages(stream: Stream) -> list[bytes | CompressedMessage]:
    """Every message that waits."""
    found = []
    while (one := stream.take_message()) is not None:
        found.append(one)
    return found


def only(streams: list[Stream]) -> Stream:
    (stream,) = streams
    return stream
