"""HTTP/2 frames as bytes: what seeds are made of, and what is asked of the frames that we send."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hpack import Encoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE = 9
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM = ACK = 1
END_HEADERS = 4


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes = b""

    def __bytes__(self) -> bytes:
        length = struct.pack(">I", len(self.payload))[1:]
        return length + struct.pack(">BBI", self.kind, self.flags, self.stream) + self.payload


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the beginning, and what is left."""
    found = []
    while len(data) >= HEAD_SIZE:
        end = HEAD_SIZE + int.from_bytes(data[:3], "big")
        if len(data) < end:
            break
        kind, flags, stream = struct.unpack(">BBI", data[3:HEAD_SIZE])
        found.append(Frame(kind, flags, stream, data[HEAD_SIZE:end]))
        data = data[end:]
    return found, data


def head(stream: int, pairs: Iterable[tuple[bytes, bytes]], *, end: bool = False) -> bytes:
    """HEADERS by an encoder of its own, which uses no dynamic table."""
    block: bytes = Encoder().encode([(name, value, True) for name, value in pairs])
    return bytes(Frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block))


def message(data: bytes, flag: int = 0) -> bytes:
    """A length-prefixed message (gRPC PROTOCOL-HTTP2)."""
    return struct.pack(">BI", flag, len(data)) + data


class SentFrames:
    """Looks at what an end sends: whole frames, and none on a stream that it has ended."""

    def __init__(self, *, client: bool) -> None:
        self._unread = b""
        self._preface = PREFACE if client else b""
        self._ended: set[int] = set()
        self._reset: set[int] = set()

    def take(self, data: bytes) -> None:
        """More of it came. Raises AssertionError."""
        self._unread += data
        if self._preface:
            if len(self._unread) < len(PREFACE):
                return
            assert self._unread.startswith(PREFACE), "no connection preface was sent"
            self._unread, self._preface = self._unread[len(PREFACE) :], b""
        found, self._unread = split(self._unread)
        for frame in found:
            self._look_at(frame)

    def _look_at(self, frame: Frame) -> None:
        assert frame.kind != CONTINUATION or frame.flags <= END_HEADERS
        if frame.kind in (SETTINGS, PING, GOAWAY):
            assert frame.stream == 0, f"{frame} is no frame of a stream"
            return
        if frame.kind == WINDOW_UPDATE and frame.stream == 0:
            return
        assert frame.stream, f"{frame} belongs to a stream"
        if frame.kind in (DATA, HEADERS):
            assert frame.stream not in self._ended, f"{frame} after END_STREAM"
            assert frame.stream not in self._reset, f"{frame} after RST_STREAM"
            if frame.flags & END_STREAM:
                self._ended.add(frame.stream)
        elif frame.kind == RST_STREAM:
            self._reset.add(frame.stream)

    def end(self) -> None:
        """That was all. Raises AssertionError."""
        assert self._unread == b"", f"{len(self._unread)} bytes of a frame that is not whole"


def all_frames(data: bytes) -> Iterator[Frame]:
    """The frames of a recorded side, without its preface."""
    yield from split(data.removeprefix(PREFACE))[0]
