"""Messages put together from DATA frames however these are cut, and opened again where they are
compressed, against what a few lines of plain Python make of the same bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable

from fuzz.choices import Choices
from fuzz.frames import ACK, DATA, END_STREAM, PREFACE, SETTINGS, Frame, head, message
from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import CompressedMessage, Stream
from gyrfalcon.rpc.compression import COMPRESSIONS, CorruptMessageError, MessageTooLargeError

REQUEST = head(
    1, [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/f.S/B"), (b":authority", b"f")]
)
GIVEN = PREFACE + bytes(Frame(SETTINGS, 0, 0)) + bytes(Frame(SETTINGS, ACK, 0)) + REQUEST
LIMITS = (64, 0, 1000, 4 << 20)
NAMES = ("gzip", "deflate", "identity", "zstd")
WINDOW = 1 << 16
MESSAGE, END, FAULT = 2, 4, 8

Told = list[object]


def expected(body: bytes, limit: int) -> Told:
    """What a stream with this body should tell."""
    told: Told = []
    while body:
        if len(body) < 5:
            return [*told, ("fault", 13)]
        flag, length = body[0], int.from_bytes(body[1:5], "big")
        if flag > 1:
            return [*told, ("fault", 13)]
        if length > limit:
            return [*told, ("fault", 8)]
        if len(body) < 5 + length:
            return [*told, ("fault", 13)]
        told.append((bool(flag), body[5 : 5 + length]))
        body = body[5 + length :]
    return [*told, "end"]


def listen(connection: Connection, told: Told) -> Stream | None:
    found = None
    for found in connection.take_ready():
        events = found.take_events()
        while (one := found.take_message()) is not None:
            if isinstance(one, CompressedMessage):
                told.append((True, one.data))
            else:
                told.append((False, one))
        if events & FAULT:
            assert found.fault is not None
            told.append(("fault", found.fault[0]))
        if events & END:
            told.append("end")
    return found


def check_open(name: str, data: bytes, limit: int) -> None:
    """A compressed message is opened whole, or refused for one of two reasons."""
    if name not in COMPRESSIONS.names():
        return
    compression = COMPRESSIONS.get(name)
    assert compression is not None
    try:
        opened = compression.decompress(data, limit)
    except (CorruptMessageError, MessageTooLargeError):
        opened = None
    if opened is not None:
        assert len(opened) <= limit
        assert compression.decompress(compression.compress(opened), limit) == opened
    if name == "gzip":
        assert opened == reference(data, 31, limit)
    elif name == "deflate":
        assert opened == reference(data, 15, limit)


def reference(data: bytes, wbits: int, limit: int) -> bytes | None:
    """The same by zlib's one-shot function. None: it is damaged, or over the limit."""
    inflater = zlib.decompressobj(wbits)
    try:
        found = inflater.decompress(data) + inflater.flush()
    except zlib.error:
        return None
    whole = inflater.eof and not inflater.unused_data
    return found if whole and len(found) <= limit else None


def check(data: bytes) -> None:
    choices = Choices(data)
    options = choices.byte()
    limit = LIMITS[options & 3]
    sizes = [choices.byte() + 1 for _ in range(choices.below(5))]
    body = choices.rest()[:WINDOW]
    connection = Connection(server=True, max_receive_bytes=limit, stream_window=2 * WINDOW)
    connection.receive(GIVEN)
    told: Told = []
    wanted = expected(body, limit)
    left = body
    while True:
        size = sizes[len(left) % len(sizes)] if sizes else 16384
        cut, left = left[:size], left[size:]
        frame = bytes(Frame(DATA, 0 if left else END_STREAM, 1, cut))
        # Cut again on its way, inside the frame's head for one.
        middle = options >> 4
        for part in (frame[:middle], frame[middle:]):
            connection.receive(part)
            listen(connection, told)
        connection.take_output()
        if not left:
            break
    assert connection.failure is None
    assert told == wanted, f"{told} is not {wanted}"
    for one in told:
        if isinstance(one, tuple) and one[0] is True:
            check_open(NAMES[options >> 2 & 3], one[1], limit or 1000)


def seeds() -> Iterable[bytes]:
    text = b"the same again and again " * 4
    packed = [
        message(gzip.compress(text, mtime=0), 1),
        message(zlib.compress(text), 1),
        message(zlib.compress(bytes(5000)), 1),
        message(text, 1),
    ]
    zstd = COMPRESSIONS.get("zstd")
    if zstd is not None:
        packed.append(message(zstd.compress(text), 1))
    bodies = [
        b"",
        message(b""),
        message(b"one") + message(b"two" * 9) + message(b""),
        message(b"x" * 65),
        message(b"cut")[:-1],
        message(b"flag", 2),
        b"\0\xff\xff\xff\xff",
        b"".join(packed),
        *packed,
    ]
    for number, body in enumerate(bodies):
        for options in (0x00, 0x12, 0x26, 0x5B, 0x9F):
            cuts = bytes([number % 5, 1, 5, 17, 90])[: 1 + number % 5]
            yield bytes([options]) + cuts + body
