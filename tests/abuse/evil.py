"""A server that answers its first call as a test says, and the next ones as it should."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gyrfalcon as gyr
from tests.abuse.attacker import Attacker
from tests.abuse.families import (
    BOMB_NAMES,
    END_HEADERS,
    GOAWAY,
    MIB,
    MOST_INFLATED,
    PING,
    PRIORITY,
    SETTINGS,
    UNKNOWN,
    by,
    data,
    literal,
    packed_bomb,
    repeated,
    reset,
    settings_frame,
    window_update,
)
from tests.core.wires import (
    ACK,
    END_STREAM,
    PREFACE,
    RESPONSE_PAIRS,
    FrameType,
    frame,
    head,
    message,
)

Status = gyr.StatusCode
Chunks = Iterable[bytes]


@dataclass(frozen=True)
class Answer:
    """What a bad server answers, and how the call ends."""

    name: str
    chunks: Callable[[int], Chunks]
    """For the stream of the call."""
    code: gyr.StatusCode
    limits: frozenset[str] = frozenset()
    """One of them ends the connection; none: the next call is made on the same one."""
    counts: frozenset[str] = frozenset()
    """Limits that fail the call alone."""
    lives: bool = False
    """Whether the connection does."""
    settings: bytes = b""
    reads: bool = True
    """Whether the server reads what it is told while it answers."""
    credit: int = 0
    """So many windows of one byte for each request."""
    most_bytes: int = 4 * MIB
    """Of memory that it may have the client hold."""


def ended_by(name: str, limit: str, chunks: Callable[[int], Chunks]) -> Answer:
    """One that a limit ends, and the connection with it."""
    return Answer(name, chunks, Status.UNAVAILABLE, by(limit))


def ok(stream_id: int) -> bytes:
    return (
        head(stream_id, RESPONSE_PAIRS)
        + data(stream_id, message(b"\n\x05hello"))
        + head(stream_id, [(b"grpc-status", b"0")], end=True)
    )


def replying(body: bytes, *fields: tuple[bytes, bytes]) -> Callable[[int], Chunks]:
    return lambda stream_id: [
        head(stream_id, [*RESPONSE_PAIRS, *fields])
        + data(stream_id, body)
        + head(stream_id, [(b"grpc-status", b"0")], end=True)
    ]


def endless_head(piece: bytes) -> Callable[[int], Chunks]:
    return lambda stream_id: [
        frame(FrameType.HEADERS, 0, stream_id, b"\x88"),
        *[frame(FrameType.CONTINUATION, 0, stream_id, piece)] * 300,
    ]


def fields_bomb(stream_id: int) -> Chunks:
    yield frame(FrameType.HEADERS, 0, stream_id, b"\x88" + literal(b"a", b"") * 3_000)
    yield frame(FrameType.CONTINUATION, END_HEADERS, stream_id, literal(b"a", b"") * 3_000)


def bytes_bomb(stream_id: int) -> Chunks:
    block = b"\x88" + literal(b"x-bomb", b"y" * 4000, index=True) + b"\xbe" * 10_000
    yield frame(FrameType.HEADERS, END_HEADERS, stream_id, block)


def after_head(stream_id: int, piece: bytes) -> Chunks:
    return repeated(piece, 40_000, head(stream_id, RESPONSE_PAIRS))


def ending(*fields: tuple[bytes, bytes]) -> Callable[[int], Chunks]:
    """Trailers after a good reply."""
    return lambda stream_id: [
        head(stream_id, RESPONSE_PAIRS)
        + data(stream_id, message(b""))
        + head(stream_id, fields, end=True)
    ]


def head_of(*fields: tuple[bytes, bytes]) -> Callable[[int], Chunks]:
    """A response that is a head."""
    return lambda stream_id: [head(stream_id, fields, end=True)]


def status_of(name: str, code: gyr.StatusCode, *values: bytes) -> Answer:
    chunks = ending(*((b"grpc-status", value) for value in values), (b"x", b""))
    return Answer(name, chunks, code, lives=True)


def replying_badly(
    name: str, body: bytes, code: gyr.StatusCode, *fields: tuple[bytes, bytes]
) -> Answer:
    return Answer(name, replying(body, *fields), code, lives=True)


BOMBS = tuple(
    Answer(
        f"decompression bomb: {name}",
        replying(packed_bomb(name), (b"grpc-encoding", name.encode())),
        Status.RESOURCE_EXHAUSTED,
        counts=by("max_receive_bytes"),
        lives=True,
        most_bytes=MOST_INFLATED,
    )
    for name in BOMB_NAMES
)
# RFC 9110 15: three digits, 100 to 599. What is none of that is a mistake of the stream.
HTTP_STATUSES: tuple[tuple[bytes | None, gyr.StatusCode], ...] = (
    (None, Status.INTERNAL),
    (b"", Status.INTERNAL),
    (b"abc", Status.INTERNAL),
    (b"99", Status.INTERNAL),
    (b"2000", Status.INTERNAL),
    (b"-20", Status.INTERNAL),
    (b"600", Status.UNKNOWN),
    (b"000", Status.UNKNOWN),
    (b"101", Status.INTERNAL),
    (b"204", Status.UNKNOWN),
    (b"404", Status.UNIMPLEMENTED),
    (b"503", Status.UNAVAILABLE),
)
# Of a request "hello", its prefix included.
REQUEST_BYTES = 12


ANSWERS = (
    ended_by("PING flood", "ping_rate", lambda _: repeated(PING, 20_000)),
    Answer(
        "PING flood, and nothing read",
        lambda _: repeated(PING, 20_000),
        Status.UNAVAILABLE,
        by("ping_rate"),
        reads=False,
    ),
    Answer(
        "SETTINGS flood, and nothing read",
        lambda _: repeated(SETTINGS, 10_000),
        Status.UNAVAILABLE,
        by("settings_rate"),
        reads=False,
    ),
    ended_by("SETTINGS flood", "settings_rate", lambda _: repeated(SETTINGS, 10_000)),
    ended_by(
        "GOAWAY flood",
        "settings_rate",
        lambda _: repeated(GOAWAY[:9] + b"\x7f\xff\xff\xff" + GOAWAY[13:], 5_000),
    ),
    ended_by("PRIORITY flood", "priority_rate", lambda _: repeated(PRIORITY, 20_000)),
    ended_by("flood of unknown frames", "priority_rate", lambda _: repeated(UNKNOWN, 20_000)),
    ended_by(
        "WINDOW_UPDATE flood",
        "window_update_rate",
        lambda _: repeated(window_update(0, 1), 40_000),
    ),
    ended_by(
        "flood of empty DATA", "empty_frame_rate", lambda number: after_head(number, data(number))
    ),
    ended_by(
        "flood of informational heads",
        "empty_frame_rate",
        lambda number: repeated(head(number, [(b":status", b"100")]), 10_000),
    ),
    ended_by(
        "tiny DATA",
        "small_frame_rate",
        lambda number: repeated(
            data(number, b"x"),
            40_000,
            head(number, RESPONSE_PAIRS) + data(number, b"\0" + (2**20).to_bytes(4, "big")),
        ),
    ),
    ended_by(
        "DATA of padding",
        "small_frame_rate",
        lambda number: after_head(number, data(number, b"\xff" + bytes(255), 8)),
    ),
    Answer(
        "CONTINUATION flood",
        endless_head(literal(b"a", b"x" * 8000)),
        Status.RESOURCE_EXHAUSTED,
        by("header_block"),
        by("max_metadata_bytes"),
    ),
    ended_by("CONTINUATION flood of empty frames", "header_block", endless_head(b"")),
    Answer(
        "reset flood",
        lambda number: repeated(reset(number), 40_000),
        Status.CANCELLED,
        by("reset_rate"),
    ),
    *(
        Answer(
            name,
            chunks,
            Status.RESOURCE_EXHAUSTED,
            counts=by("max_metadata_bytes"),
            lives=True,
        )
        for name, chunks in (
            ("HPACK bomb by bytes", bytes_bomb),
            ("HPACK bomb by fields", fields_bomb),
        )
    ),
    Answer(
        "window overflow",
        lambda number: [window_update(number, 2**31 - 1)],
        Status.INTERNAL,
        lives=True,
    ),
    Answer(
        "window of the connection overflows",
        lambda _: [window_update(0, 2**31 - 1)],
        Status.UNAVAILABLE,
    ),
    Answer(
        "WINDOW_UPDATE of nothing",
        lambda number: [window_update(number, 0)],
        Status.INTERNAL,
        lives=True,
    ),
    Answer(
        "PUSH_PROMISE",
        lambda number: [frame(FrameType.PUSH_PROMISE, 4, number, struct.pack(">I", 2) + b"\x82")],
        Status.UNAVAILABLE,
    ),
    Answer(
        "DATA before the head",
        lambda number: [data(number, message(b""))],
        Status.INTERNAL,
        lives=True,
    ),
    Answer("DATA on an idle stream", lambda _: [data(99, b"x")], Status.UNAVAILABLE),
    Answer(
        "large DATA",
        lambda number: [head(number, RESPONSE_PAIRS) + data(number, bytes(70_000))],
        Status.INTERNAL,
        lives=True,
    ),
    Answer(
        "false length prefix",
        replying(b"\0\xff\xff\xff\xff" + b"x" * 100),
        Status.RESOURCE_EXHAUSTED,
        counts=by("max_receive_bytes"),
        lives=True,
    ),
    replying_badly("unary reply that is cut short", b"\0\0\0\0\5xyz", Status.INTERNAL),
    replying_badly("flag that is none", b"\2\0\0\0\0", Status.INTERNAL),
    replying_badly(
        "compressed flag without an encoding",
        b"\1\0\0\0\1x",
        Status.INTERNAL,
    ),
    replying_badly(
        "unknown encoding", message(b"x", 1), Status.INTERNAL, (b"grpc-encoding", b"\x9b" * 4000)
    ),
    *BOMBS,
    *(
        status_of(f"grpc-status {value[:24].decode('latin-1')!r}", Status.UNKNOWN, value)
        for value in (b"", b"x", b"-1", b"+0", b"0x0", b"0 0", b"1.0", b"%d" % 2**64, b"9" * 4000)
    ),
    status_of("grpc-status 0 twice", Status.OK, b"0", b"0"),
    status_of("two that disagree", Status.OK, b"0", b"5"),
    status_of("a status that nobody knows", Status.UNKNOWN, b"99"),
    status_of("no grpc-status", Status.UNKNOWN),
    *(
        Answer(
            f":status {value!r}" if value else "no :status",
            head_of(*([(b":status", value)] if value is not None else [])),
            code,
            lives=True,
        )
        for value, code in HTTP_STATUSES
    ),
    Answer(":status twice", head_of(*[(b":status", b"200")] * 2), Status.INTERNAL, lives=True),
    Answer(
        "content-type that is no gRPC",
        head_of((b":status", b"200"), (b"content-type", b"\x9b2J" * 1000)),
        Status.UNKNOWN,
        lives=True,
    ),
    Answer(
        "bad base64 in metadata",
        ending(
            (b"grpc-status", b"5"),
            (b"token-bin", b"A==="),
            (b"grpc-status-details-bin", b"?"),
            (b"-bin", b"\xff"),
        ),
        Status.NOT_FOUND,
        lives=True,
    ),
    Answer(
        "bad base64 in a good answer",
        replying(message(b""), (b"token-bin", b"A===")),
        Status.OK,
        lives=True,
    ),
    Answer(
        "fields that HTTP forbids",
        replying(message(b""), (b"key", b"a\nb")),
        Status.INTERNAL,
        lives=True,
    ),
    Answer(
        "grpc-message that is none",
        ending((b"grpc-status", b"5"), (b"grpc-message", b"%zz%\xff%0a%1b[2J" * 300)),
        Status.NOT_FOUND,
        lives=True,
    ),
    Answer(
        "one-byte windows",
        lambda number: [ok(number)],
        Status.OK,
        lives=True,
        settings=settings_frame((4, 0)),
        credit=REQUEST_BYTES,
    ),
    ended_by(
        "tiny windows",
        "window_update_rate",
        lambda number: repeated(window_update(number, 1), 40_000),
    ),
    Answer("no HTTP/2", lambda _: [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10], Status.UNAVAILABLE),
)


class EvilServer:
    """Listens on a free port; each connection has a thread."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self.goaways: list[tuple[int, bytes]] = []
        """What each client that hung up said last."""
        self.connections = 0
        self._calls = 0
        self._closing = False
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if self._closing:
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            peer = Attacker(connection, preface=PREFACE, reads=self._answer.reads)
            peer.send(
                frame(FrameType.SETTINGS, 0, 0, self._answer.settings)
                + frame(FrameType.SETTINGS, ACK, 0)
            )
            met: set[int] = set()
            served: set[int] = set()
            while True:
                for kind, flags, stream_id, _ in peer.all_frames():
                    if kind is FrameType.PING and not flags & ACK:
                        continue
                    if kind is FrameType.HEADERS and self._answer.credit and stream_id not in met:
                        met.add(stream_id)
                        peer.send(window_update(stream_id, 1) * self._answer.credit)
                    if stream_id and flags & END_STREAM and stream_id not in served:
                        served.add(stream_id)
                        self._reply(peer, stream_id)
                if not peer.wait():
                    break
            if peer.goaway is not None:
                self.goaways.append(peer.goaway)

    def _reply(self, peer: Attacker, stream_id: int) -> None:
        self._calls += 1
        if self._calls == 1:
            peer.send_all(self._answer.chunks(stream_id))
        else:
            peer.send(ok(stream_id))

    def stop(self) -> None:
        """When every client has gone."""
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        for thread in self._threads:
            thread.join()
        self._listening.close()


@contextmanager
def answering(answer: Answer) -> Iterator[EvilServer]:
    server = EvilServer(answer)
    try:
        yield server
    finally:
        server.stop()
