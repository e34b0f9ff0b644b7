"""Decisions read from an input: the same input makes the same decisions, without a fuzzer too."""

from __future__ import annotations


class Choices:
    """Reads an input from its beginning; past its end everything is zero or empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        if not self:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1, of one byte, or of two where one is not enough."""
        found = self.byte() if bound <= 256 else self.byte() << 8 | self.byte()
        return found % bound

    def flag(self) -> bool:
        return bool(self.byte() & 1)

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        return found

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def block(self) -> bytes:
        """Bytes with their own length before them (one byte)."""
        return self.take(self.byte())


def pieces(data: bytes, size: int) -> list[bytes]:
    """`data` cut every `size` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]
