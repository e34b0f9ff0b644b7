"""gzip under other names, which notes in which turn of the loop how much was inflated."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from gyrfalcon.rpc.compression import COMPRESSIONS, GZIP, MessageTooLargeError
from tests.call.turns import Turns

MIB = 2**20
PART = MIB // 4
# What all connections of a loop inflate in one turn of it, but for the part that goes over it.
ALLOWANCE = PART


class Whole:
    """Inflates a message at once, as a program's own compression may."""

    name = "whole"
    most_over = 4 * MIB

    def __init__(self) -> None:
        self.turns = Turns()

    @property
    def total(self) -> int:
        """Bytes."""
        return self.turns.counts.total()

    @property
    def most(self) -> int:
        """Bytes in one turn."""
        return self.turns.most

    def compress(self, data: bytes, /) -> bytes:
        return GZIP.compress(data)

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        try:
            message = GZIP.decompress(data, limit)
        except MessageTooLargeError:
            self.turns.note(limit)
            raise
        self.turns.note(len(message))
        return message


class InParts(Whole):
    """Inflates a message in parts."""

    name = "in-parts"
    most_over = PART

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        """A part of a message was inflated."""

    def inflate(self, data: bytes, limit: int, /) -> Generator[int, None, bytes]:
        steps = GZIP.inflate(data, limit)
        before = 0
        while True:
            try:
                size = next(steps)
            except StopIteration as stop:
                message: bytes = stop.value
                self.turns.note(len(message) - before)
                return message
            self.turns.note(size)
            self.begun.set()
            before += size
            yield size


def add(compression: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it registered until the end of the test."""
    monkeypatch.setattr(COMPRESSIONS, "_by_name", dict(COMPRESSIONS._by_name))
    monkeypatch.setattr(COMPRESSIONS, "accept_encoding", COMPRESSIONS.accept_encoding)
    COMPRESSIONS.register(compression)
