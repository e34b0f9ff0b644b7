"""The known ways to abuse an HTTP/2 server: what each sends, and what a correct server does.

Each is a number of chunks of bytes for one connection whose settings are exchanged. All are
bounded: a server without the limit in question would swallow them to the end, and live. The same by
a bad server against a client is in `evil.py`. Where each is tested, T being tests/:

| family | at a server | at a client |
|---|---|---|
| rapid reset, late resets, resets of one stream | CALM | evil.ANSWERS |
| "made you reset", streams over the limit | CALM | a client opens the streams |
| CONTINUATION floods, HPACK bombs | CALM, HARMLESS | evil.ANSWERS |
| PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty frames | CALM | evil.ANSWERS |
| floods by a peer that never reads | CALM | evil.ANSWERS |
| tiny DATA, padding | CALM | evil.ANSWERS |
| zero and one-byte windows | CALM, HARMLESS | evil.ANSWERS |
| peers that take nothing, by the clock | T/connection/test_handshake.py | the same |
| window overflow | CALM, test_states.py | evil.ANSWERS, test_states.py |
| slow or silent handshakes, slow header blocks | T/endurance/test_silent.py, | |
| | T/connection/test_handshake.py | T/connection/test_handshake.py |
| exhausted descriptors in accept | T/endurance/test_descriptors.py | a client accepts nobody |
| frames in every state of a stream | test_states.py | test_states.py |
| decompression bombs, false prefixes | HARMLESS | evil.ANSWERS |
| bad base64, paths, timeouts, encodings, statuses | HARMLESS | evil.ANSWERS |
| log injection | test_logs.py | test_logs.py |
| honest extremes | honest.py, T/core/test_gate.py | a server has the limits |
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import gyrfalcon as gyr
from gyrfalcon.rpc.compression import COMPRESSIONS
from tests.core.wires import (
    END_STREAM,
    REQUEST_PAIRS,
    FrameType,
    frame,
    head,
    message,
)

Status = gyr.StatusCode
MIB = 2**20
STREAMS = 30_000
PACK = 500
END_HEADERS = 4


class Code(enum.IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


@dataclass(frozen=True)
class Family:
    """One way, and the verdict."""

    name: str
    chunks: Callable[[], Iterable[bytes]]
    limits: frozenset[str] = frozenset()
    """One of them ends the connection, by GOAWAY(ENHANCE_YOUR_CALM) that names it; none: the
    connection lives, and other calls on it are served."""
    resets: Code | None = None
    """The code with which streams are reset."""
    status: gyr.StatusCode | None = None
    """What each of the `calls` ends with."""
    calls: int = 0
    counts: frozenset[str] = frozenset()
    """Limits that fail calls alone."""
    most_bytes: int = 4 * MIB
    """Of memory that one such connection may have the server hold (docs/explanation/attacks.md)."""
    reads: bool = True
    """Whether the attacker reads what it is sent."""
    settings: bytes = b""
    handlers: int = 0
    """So many handlers are to run before the figures are looked at."""


def by(*names: str) -> frozenset[str]:
    return frozenset(names)


def request_head(
    stream_id: int,
    method: str = "Unary",
    *more: tuple[bytes, bytes],
    path: bytes | None = None,
    end: bool = False,
) -> bytes:
    path = f"/tests.Calls/{method}".encode() if path is None else path
    pairs = [(name, path if name == b":path" else value) for name, value in REQUEST_PAIRS]
    return head(stream_id, [*pairs, *more], end=end)


class Heads:
    """HEADERS frames of the same request, but for the stream: encoded once."""

    def __init__(self, method: str = "Unary", *, end: bool = False) -> None:
        self._start, _, self._rest = request_head(1, method, end=end).partition(
            struct.pack(">I", 1)
        )
        assert self._rest

    def __call__(self, stream_id: int) -> bytes:
        return self._start + struct.pack(">I", stream_id) + self._rest


def reset(stream_id: int, code: int = Code.CANCEL) -> bytes:
    return frame(FrameType.RST_STREAM, 0, stream_id, struct.pack(">I", code))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))


def data(stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(FrameType.DATA, flags, stream_id, payload)


def packs(one: Callable[[int], bytes], count: int = STREAMS, pack: int = PACK) -> Iterator[bytes]:
    """What `one` makes for the streams 1, 3, 5 ..., in chunks."""
    for first in range(0, count, pack):
        yield b"".join(one(2 * n + 1) for n in range(first, min(first + pack, count)))


def repeated(piece: bytes, count: int, before: bytes = b"") -> Iterator[bytes]:
    """The same over and over."""
    yield before
    for _ in range(count // PACK):
        yield piece * PACK


# ---------------------------------------------------------------------- streams and resets


def rapid_reset() -> Iterator[bytes]:
    open_one = Heads()
    return packs(lambda stream_id: open_one(stream_id) + reset(stream_id))


def late_reset() -> Iterator[bytes]:
    """The handlers have begun when the streams are reset."""
    open_one = Heads("Bidi")
    for opened, ended in zip(packs(open_one), packs(reset), strict=True):
        yield opened
        yield ended


def provoked(
    mistake: Callable[[int], bytes], *, end: bool = False
) -> Callable[[], Iterator[bytes]]:
    open_one = Heads("Bidi", end=end)
    return lambda: packs(lambda stream_id: open_one(stream_id) + mistake(stream_id), 12_000, 100)


def overflow(stream_id: int) -> bytes:
    return window_update(stream_id, 2**31 - 1)


def refused(end: bool = False) -> Iterator[bytes]:
    return packs(Heads("Bidi", end=end))


# ---------------------------------------------------------------------- header blocks


def endless_block(piece: bytes) -> Iterator[bytes]:
    yield frame(FrameType.HEADERS, 0, 1, b"\x83")
    for _ in range(300):
        yield frame(FrameType.CONTINUATION, 0, 1, piece)


def literal(name: bytes, value: bytes, *, index: bool = False) -> bytes:
    """A field without Huffman coding (RFC 7541 6.2)."""

    def text(what: bytes) -> bytes:
        size = len(what)
        if size < 127:
            return bytes([size]) + what
        size -= 127
        number = b"\x7f"
        while size > 127:
            number += bytes([size & 127 | 128])
            size >>= 7
        return number + bytes([size]) + what

    return (b"\x40" if index else b"\x00") + text(name) + text(value)


def bomb(block: bytes, before: bytes = b"") -> Iterator[bytes]:
    for number in range(1, 200, 2):
        fields = request_head(number)[9:] + (before if number == 1 else b"") + block
        pieces = [fields[at : at + 16_000] for at in range(0, len(fields), 16_000)]
        last = len(pieces) - 1
        yield b"".join(
            frame(
                FrameType.CONTINUATION if index else FrameType.HEADERS,
                END_HEADERS if index == last else 0,
                number,
                piece,
            )
            for index, piece in enumerate(pieces)
        )


def bomb_by_bytes() -> Iterator[bytes]:
    """One field of 4,000 bytes goes to the table; each byte after it stands for that field."""
    return bomb(b"\xbe" * 30_000, literal(b"x-bomb", b"y" * 4000, index=True))


def bomb_by_fields() -> Iterator[bytes]:
    return bomb(literal(b"a", b"") * 10_000)


# ---------------------------------------------------------------------- frames that do no work


def settings_frame(*entries: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">HI", *entry) for entry in entries)


PING = frame(FrameType.PING, 0, 0, b"pingpong")
SETTINGS = frame(FrameType.SETTINGS, 0, 0, settings_frame((4, 65_535)))
PRIORITY = frame(FrameType.PRIORITY, 0, 77, struct.pack(">IB", 75, 1))
GOAWAY = frame(FrameType.GOAWAY, 0, 0, bytes(8) + b"x" * 500)
UNKNOWN = b"\0\0\0" + bytes([0xBE, 0]) + bytes(4)


def goaways() -> Iterator[bytes]:
    """With a call that goes on, without which the first of them ends the connection."""
    return repeated(GOAWAY, 5_000, request_head(1, "ClientStream"))


def tiny_data() -> Iterator[bytes]:
    """A message of a megabyte, a byte a frame."""
    prefix = data(1, b"\0" + (2**20).to_bytes(4, "big"))
    return repeated(data(1, b"x"), 40_000, request_head(1, "ClientStream") + prefix)


def padding() -> Iterator[bytes]:
    """DATA frames of nothing but padding."""
    return repeated(data(1, b"\xff" + bytes(255), 8), 40_000, request_head(1, "ClientStream"))


def one_byte_windows() -> Iterator[bytes]:
    """A reader that takes a long reply a byte at a time."""
    call = request_head(1, "ServerStream") + data(1, message(b"\n\x07" + b"1000000"), END_STREAM)
    return repeated(window_update(1, 1), 40_000, call)


def zero_window() -> Iterator[bytes]:
    """Many long replies, of which nothing is taken."""
    open_one = Heads("ServerStream")
    body = message(b"\n\x07" + b"1000000")
    return packs(lambda number: open_one(number) + data(number, body, END_STREAM), 900, 100)


# ---------------------------------------------------------------------- messages


def false_prefix() -> Iterator[bytes]:
    """Messages of four megabytes are announced, and a byte of each comes."""
    open_one = Heads("ClientStream")
    body = b"\0" + (4 * 2**20).to_bytes(4, "big") + b"x"
    return packs(lambda number: open_one(number) + data(number, body), 900, 100)


# What inflates to this is packed to a thousandth of it, or less.
BOMB_BYTES = 64 * 2**20
BOMBS = 20
# The largest message, in parts, and zstd's window as far as it was filled. It is a matter of the
# process and not of the connection: a loop inflates one message at a time.
MOST_INFLATED = 8 * MIB
SMALL_BOMBS = 100
BOMB_NAMES = tuple(name for name in COMPRESSIONS.names() if name != "identity")


@cache
def packed_bomb(name: str) -> bytes:
    """A message of zeros, compressed."""
    compression = COMPRESSIONS.get(name)
    assert compression is not None
    return message(compression.compress(bytes(BOMB_BYTES)), 1)


def decompression_bomb(name: str) -> Callable[[], Iterator[bytes]]:
    def one(stream_id: int) -> bytes:
        body = packed_bomb(name)
        pieces = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
        return (
            request_head(stream_id, "Unary", (b"grpc-encoding", name.encode()))
            + b"".join(data(stream_id, piece) for piece in pieces)
            + data(stream_id, b"", END_STREAM)
        )

    return lambda: packs(one, BOMBS, 1)


def small_bombs() -> Iterator[bytes]:
    """Four kilobytes each, which inflate to just over the limit: many of them come in one read."""
    packed = message(COMPRESSIONS.choose("gzip").compress(bytes(4 * MIB + 1)), 1)
    return packs(
        lambda number: (
            request_head(number, "Unary", (b"grpc-encoding", b"gzip"))
            + data(number, packed, END_STREAM)
        ),
        SMALL_BOMBS,
        50,
    )


# ---------------------------------------------------------------------- requests that are none

BAD_CALLS = 500


def whole_call(stream_id: int, *more: tuple[bytes, bytes], path: bytes | None = None) -> bytes:
    """A unary call that has all it needs."""
    return request_head(stream_id, "Unary", *more, path=path) + data(
        stream_id, message(b""), END_STREAM
    )


def in_turn(cases: Sequence[bytes], one: Callable[[int, bytes], bytes]) -> Iterator[bytes]:
    """Calls that go through the cases again and again."""
    return packs(lambda number: one(number, cases[number // 2 % len(cases)]), BAD_CALLS, 100)


def with_field(name: bytes, *values: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: in_turn(values, lambda number, value: whole_call(number, (name, value)))


def with_path(*paths: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: in_turn(paths, lambda number, path: whole_call(number, path=path))


def with_body(*bodies: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: in_turn(
        bodies, lambda number, body: request_head(number) + data(number, body, END_STREAM)
    )


UNKNOWN_PATHS = (
    b"/",
    b"//",
    b"/tests.Calls",
    b"/tests.Calls/",
    b"//tests.Calls/Unary",
    b"/tests.Calls/Unary/",
    b"/tests.Calls/unary",
    b"/tests.Calls/Unary?x=1",
    b"/tests.Calls/%55nary",
    b"/../tests.Calls/Unary",
    b"/tests.Calls/__init__",
    b"/tests.Calls/" + b"x" * 4000,
    b"/\xff\xfe\x9b2J",
)
BAD_TIMEOUTS = (b"", b"1", b"S", b"123456789S", b"1s", b"-1S", b"+1S", b"1.5S", b"1e3S", b"\xb2S")
BAD_BASE64 = (b"?", b"AAAA=AAA", b"A", b"A===", b"AAAA\xff", b"AA AA", b"Zm=9v")


# Which comes first depends on how they are read: three PINGs too soon are two strikes too many.
PINGED = by("ping_rate", "too_many_pings", "min_ping_interval")

CALM = (
    Family("rapid reset", rapid_reset, by("reset_rate")),
    Family("resets of calls that have begun", late_reset, by("reset_rate")),
    Family(
        "resets of one stream",
        lambda: repeated(reset(1), 40_000, request_head(1)),
        by("reset_rate"),
    ),
    Family(
        "made you reset: WINDOW_UPDATE of nothing",
        provoked(lambda number: window_update(number, 0)),
        by("provoked_reset_rate"),
        Code.PROTOCOL_ERROR,
    ),
    Family(
        "made you reset: window overflow",
        provoked(overflow),
        by("provoked_reset_rate"),
        Code.FLOW_CONTROL_ERROR,
    ),
    Family(
        "made you reset: DATA after the end",
        provoked(lambda number: data(number, b"x"), end=True),
        by("provoked_reset_rate"),
        Code.STREAM_CLOSED,
    ),
    Family(
        "made you reset: HEADERS after the end",
        provoked(lambda number: request_head(number, end=True), end=True),
        by("provoked_reset_rate"),
        Code.STREAM_CLOSED,
    ),
    Family(
        "made you reset: bad PRIORITY",
        provoked(lambda number: frame(FrameType.PRIORITY, 0, number, b"x")),
        by("provoked_reset_rate", "priority_rate"),
        Code.FRAME_SIZE_ERROR,
    ),
    Family(
        "made you reset, and nothing read",
        lambda: packs(lambda number: Heads()(number) + window_update(number, 0), 20_000),
        by("unsent_frames", "provoked_reset_rate"),
        reads=False,
    ),
    Family(
        "streams over the limit",
        refused,
        by("refused_stream_rate", "unsent_frames"),
        Code.REFUSED_STREAM,
    ),
    Family(
        "streams over the limit, and nothing read",
        refused,
        by("unsent_frames", "refused_stream_rate"),
        reads=False,
    ),
    Family(
        "CONTINUATION flood", lambda: endless_block(literal(b"a", b"x" * 8000)), by("header_block")
    ),
    Family("CONTINUATION flood of empty frames", lambda: endless_block(b""), by("header_block")),
    Family("PING flood", lambda: repeated(PING, 20_000), PINGED),
    Family("PING flood, and nothing read", lambda: repeated(PING, 20_000), PINGED, reads=False),
    Family("SETTINGS flood", lambda: repeated(SETTINGS, 10_000), by("settings_rate")),
    Family(
        "SETTINGS flood, and nothing read",
        lambda: repeated(SETTINGS, 10_000),
        by("settings_rate"),
        reads=False,
    ),
    Family("GOAWAY flood", goaways, by("settings_rate")),
    Family("PRIORITY flood", lambda: repeated(PRIORITY, 20_000), by("priority_rate")),
    Family("flood of unknown frames", lambda: repeated(UNKNOWN, 20_000), by("priority_rate")),
    Family(
        "WINDOW_UPDATE flood",
        lambda: repeated(window_update(0, 1), 40_000),
        by("window_update_rate"),
    ),
    Family(
        "flood of empty DATA",
        lambda: repeated(data(1), 20_000, request_head(1, "ClientStream")),
        by("empty_frame_rate"),
    ),
    Family(
        "flood of empty HEADERS",
        lambda: packs(lambda number: frame(FrameType.HEADERS, END_HEADERS, number), 4_000, 100),
        by("empty_frame_rate", "provoked_reset_rate"),
        Code.PROTOCOL_ERROR,
    ),
    Family("tiny DATA", tiny_data, by("small_frame_rate")),
    Family("DATA of padding", padding, by("small_frame_rate")),
    Family(
        "one-byte windows",
        one_byte_windows,
        by("window_update_rate"),
        settings=settings_frame((4, 1)),
    ),
)
"""Those that go on until the connection is ended."""

HARMLESS = (
    *(
        Family(name, chunks, counts=by("max_metadata_bytes"), resets=Code.INTERNAL_ERROR)
        for name, chunks in (
            ("HPACK bomb by bytes", bomb_by_bytes),
            ("HPACK bomb by fields", bomb_by_fields),
        )
    ),
    Family("zero windows", zero_window, settings=settings_frame((4, 0)), handlers=900),
    Family("false length prefixes", false_prefix, handlers=900),
    Family(
        "length prefixes over the limit",
        with_body(b"\0\xff\xff\xff\xff", b"\1\x80\0\0\0x", b"\0\x00\x40\x00\x01xyz"),
        counts=by("max_receive_bytes"),
        status=Status.RESOURCE_EXHAUSTED,
        calls=BAD_CALLS,
    ),
    Family(
        "messages that are cut short",
        with_body(b"\0", b"\0\0\0\0", b"\0\0\0\0\1", b"\0\0\0\0\5xyz", b"\1\0\x3f\0\0xyz"),
        status=Status.INTERNAL,
        calls=BAD_CALLS,
    ),
    Family(
        "flags that are none",
        with_body(b"\2\0\0\0\0", b"\xff\0\0\0\1x"),
        status=Status.INTERNAL,
        calls=BAD_CALLS,
    ),
    *(
        Family(
            f"decompression bombs: {name}",
            decompression_bomb(name),
            counts=by("max_receive_bytes"),
            status=Status.RESOURCE_EXHAUSTED,
            calls=BOMBS,
            most_bytes=MOST_INFLATED,
        )
        for name in BOMB_NAMES
    ),
    Family(
        "small decompression bombs",
        small_bombs,
        status=Status.RESOURCE_EXHAUSTED,
        calls=SMALL_BOMBS,
        counts=by("max_receive_bytes"),
        most_bytes=MOST_INFLATED,
    ),
    Family(
        "bad base64",
        with_field(b"token-bin", *BAD_BASE64),
        status=Status.INTERNAL,
        calls=BAD_CALLS,
    ),
    Family(
        "paths that nobody serves",
        with_path(*UNKNOWN_PATHS),
        status=Status.UNIMPLEMENTED,
        calls=BAD_CALLS,
    ),
    Family(
        "paths that HTTP forbids",
        with_path(b"", b"tests.Calls/Unary", b"*", b"/tests.Calls/\x1b[2J", b"/a\nb", b"/a\0"),
        resets=Code.PROTOCOL_ERROR,
    ),
    Family(
        "fields that HTTP forbids",
        with_field(b"key", b"a\nb", b"a\r\nb: c", b"\x1b[31m", b"a\0b", b"\x7f"),
        resets=Code.PROTOCOL_ERROR,
    ),
    Family(
        "bad timeouts",
        with_field(b"grpc-timeout", *BAD_TIMEOUTS),
        status=Status.INTERNAL,
        calls=BAD_CALLS,
    ),
    Family(
        "unknown encodings",
        with_field(b"grpc-encoding", b"br", b"", b"GZIP", b"gzip,gzip", b"x" * 4000, b"\xff\x9b"),
        status=Status.UNIMPLEMENTED,
        calls=BAD_CALLS,
    ),
)
"""Those that the connection survives."""

WARM_UP = CALM[:2] + tuple(family for family in HARMLESS if "HPACK" not in family.name)[:8]
"""What the first of a kind allocates is not the cost of one more."""
