"""What a connection's streams tell, each in its own order, however the bytes came."""

from __future__ import annotations

from collections import defaultdict

from hpack import Encoder

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import CompressedMessage

from .wires import (
    END_HEADERS,
    END_STREAM,
    PREFACE,
    REQUEST,
    REQUEST_PAIRS,
    RESPONSE_PAIRS,
    Event,
    FrameType,
    frame,
    head,
    message,
    messages,
)

PADDED = 8
PRIORITY = 32
Story = list[object]


def plain(one: bytes | CompressedMessage) -> tuple[bytes, bool]:
    """A message's bytes, and whether they are compressed."""
    return (one.data, True) if isinstance(one, CompressedMessage) else (one, False)


class Teller:
    """Feeds a connection and keeps each stream's story."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.stories: dict[int, Story] = defaultdict(list)

    def receive(self, data: bytes) -> None:
        self.connection.receive(data)
        self.listen()

    def listen(self) -> None:
        for stream in self.connection.take_ready():
            story = self.stories[stream.id]
            events = Event(stream.take_events())
            if Event.HEAD in events:
                assert stream.head is not None
                story.append(("head", stream.head.pairs(), stream.oversized_head))
            for one in messages(stream):
                story.append(("message", *plain(one)))
            if Event.FAULT in events:
                story.append(("fault", stream.fault))
            if Event.END in events:
                story.append(("end", stream.trailers and stream.trailers.pairs()))
            if Event.CLOSED in events:
                story.append(("closed", stream.reset_code))

    def told(self) -> object:
        """Everything that was told, and what the connection says of itself."""
        one = self.connection
        state = (one.goaway_received, one.goaway_code, one.goaway_data, one.pings_acknowledged)
        return dict(self.stories), state, one.failure, one.open_streams


def padded_data(stream_id: int, data: bytes, *, end: bool = False) -> bytes:
    flags = PADDED | (END_STREAM if end else 0)
    return frame(FrameType.DATA, flags, stream_id, b"\x05" + data + bytes(5))


def cut_head(stream_id: int, pairs: list[tuple[bytes, bytes]], *, end: bool = False) -> bytes:
    """A head over three frames, with priority and padding in the first."""
    block: bytes = Encoder().encode([(name, value, True) for name, value in pairs])
    first, second, third = block[:3], block[3:10], block[10:]
    flags = PADDED | PRIORITY | (END_STREAM if end else 0)
    return (
        frame(FrameType.HEADERS, flags, stream_id, b"\x02" + bytes(4) + b"\x0f" + first + bytes(2))
        + frame(FrameType.CONTINUATION, 0, stream_id, second)
        + frame(FrameType.CONTINUATION, END_HEADERS, stream_id, third)
    )


def requests() -> bytes:
    """What a client might send: streams 1 to 9, each with an ending of its own."""
    two = message(b"one") + message(b"two" * 30, flag=1)
    return b"".join(
        [
            PREFACE,
            frame(FrameType.SETTINGS, 0, 0, b"\0\4\0\0\xff\xff"),
            head(1),
            frame(FrameType.DATA, 0, 1, two[:7]),
            cut_head(3, [*REQUEST_PAIRS, (b"key", b"value" * 20)]),
            padded_data(1, two[7:], end=True),
            padded_data(3, message(b"")),
            frame(FrameType.PING, 0, 0, b"question"),
            head(5, end=True),
            frame(FrameType.DATA, END_STREAM, 3, message(b"x")[:4]),
            head(7),
            frame(FrameType.DATA, 0, 7, message(b"whole") + message(b"part")[:-1]),
            frame(FrameType.RST_STREAM, 0, 7, b"\0\0\0\x08"),
            head(9),
            frame(FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\1\0"),
            frame(FrameType.DATA, 0, 9, message(b"good") + b"\7\0\0\0\1x"),
            head(9, [(b"trailer", b"from a client")], end=True),
        ]
    )


def responses() -> bytes:
    """What a server might send to a client that has the streams 1 to 9 open."""
    return b"".join(
        [
            frame(FrameType.SETTINGS, 0, 0, b"\0\3\0\0\0\x64"),
            head(1, [(b":status", b"103"), (b"link", b"x")]),
            head(1, RESPONSE_PAIRS),
            frame(FrameType.DATA, 0, 1, message(b"first") + message(b"second")[:8]),
            cut_head(3, [*RESPONSE_PAIRS, (b"grpc-status", b"5")], end=True),
            padded_data(1, message(b"second")[8:]),
            frame(FrameType.PING, END_STREAM, 0, b"gyrfalcn"),
            head(1, [(b"grpc-status", b"0")], end=True),
            head(5, RESPONSE_PAIRS),
            frame(FrameType.RST_STREAM, 0, 5, b"\0\0\0\x02"),
            head(7, [(b":status", b"502"), (b"content-type", b"text/html")]),
            frame(FrameType.DATA, END_STREAM, 7, b"<h1>Bad gateway</h1>"),
        ]
    )


def goaway(last: int) -> bytes:
    return frame(FrameType.GOAWAY, 0, 0, last.to_bytes(4, "big") + b"\0\0\0\x0btoo many")


def serving() -> Teller:
    server = Connection(server=True)
    server.take_output()
    return Teller(server)


def calling() -> Teller:
    client = Connection(server=False)
    for _ in range(5):
        client.open(REQUEST)
    client.take_output()
    return Teller(client)


SIDES = {"server": (serving, requests()), "client": (calling, responses())}
