"""Joining two transports of one loop: what one receives the other sends."""

from __future__ import annotations

import asyncio
from typing import Self, cast


class Relay(asyncio.Protocol):
    """One side of a relay. Either may be connected first."""

    def __init__(self) -> None:
        self._other: Relay
        self._transport: asyncio.Transport | None = None
        self._ended = False

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Two sides that belong together."""
        one, two = cls(), cls()
        one._other, two._other = two, one
        return one, two

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: this side is there."""
        self._transport = cast("asyncio.Transport", transport)
        if self._other._transport is None:
            if self._ended:
                self._transport.abort()
            else:
                # Nothing is read before it can be handed on.
                self._transport.pause_reading()
        elif not self._other._transport.is_closing():
            self._other._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """asyncio: hand it on."""
        if self._other._transport is not None:
            self._other._transport.write(data)

    def pause_writing(self) -> None:
        """asyncio: this side takes no more, so the other reads no more."""
        if self._other._transport is not None:
            self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        """asyncio: this side takes more again."""
        other = self._other._transport
        if other is not None and not other.is_closing():
            other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: one side ends with the other; after a close, what is on its way arrives."""
        other = self._other
        other._ended = True
        if other._transport is not None:
            if exc is None:
                other._transport.close()
            else:
                other._transport.abort()
