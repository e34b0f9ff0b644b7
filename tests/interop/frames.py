"""HTTP/2 frames one by one, for peers on h2: of what comes together with a GOAWAY it takes nothing
that follows, though the connection goes on (RFC 9113 6.8)."""

from __future__ import annotations

from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9


class Splitter:
    """Cuts what comes into the preface, if there is one to come, and whole frames."""

    def __init__(self, *, preface: bool) -> None:
        self._preface_left = len(PREFACE) if preface else 0
        self._rest = b""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        if self._preface_left:
            piece, self._rest = self._rest[: self._preface_left], self._rest[self._preface_left :]
            self._preface_left -= len(piece)
            yield piece
        while len(self._rest) >= (size := HEADER_BYTES + int.from_bytes(self._rest[:3], "big")):
            piece, self._rest = self._rest[:size], self._rest[size:]
            yield piece
