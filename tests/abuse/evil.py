"""A server that answers its first call as a test says, and the next ones as it should."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gyrfalcon as gyr
from tests.abuse.attacker import Attacker
from tests.abuse.families import (
    END_HEADERS,
    GOAWAY,
    PING,
    PRIORITY,
    SETTINGS,
    UNKNOWN,
    data,
    literal,
    repeated,
    reset,
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
    lives: bool = False
    """Whether the connection does."""


def ended_by(name: str, limit: str, chunks: Callable[[int], Chunks]) -> Answer:
    """One that a limit ends, and the connection with it."""
    return Answer(name, chunks, Status.UNAVAILABLE, frozenset((limit,)))


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


ANSWERS = (
    ended_by("PING flood", "ping_rate", lambda _: repeated(PING, 20_000)),
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
        frozenset(("header_block",)),
    ),
    ended_by("CONTINUATION flood of empty frames", "header_block", endless_head(b"")),
    Answer(
        "reset flood",
        lambda number: repeated(reset(number), 40_000),
        Status.CANCELLED,
        frozenset(("reset_rate",)),
    ),
    Answer("HPACK bomb by bytes", bytes_bomb, Status.RESOURCE_EXHAUSTED, lives=True),
    Answer("HPACK bomb by fields", fields_bomb, Status.RESOURCE_EXHAUSTED, lives=True),
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
        lives=True,
    ),
    Answer(
        "decompression bomb",
        replying(message(gzip.compress(bytes(64 * 2**20)), 1), (b"grpc-encoding", b"gzip")),
        Status.RESOURCE_EXHAUSTED,
        lives=True,
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
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if self._listening.getblocking() is False:
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            peer = Attacker(connection, preface=PREFACE)
            peer.send(frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.SETTINGS, ACK, 0))
            served: set[int] = set()
            while True:
                for kind, flags, stream_id, _ in peer.all_frames():
                    if kind is FrameType.PING and not flags & ACK:
                        continue
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
        self._listening.setblocking(False)
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
