"""Two TLS layers without a loop and a network: bytes are carried from one to the other by hand."""

from __future__ import annotations

import asyncio
from typing import Any

from gyrfalcon.transport.certificates import choose_client_settings, choose_server_settings
from gyrfalcon.transport.clock import ManualClock
from gyrfalcon.transport.tls import TlsProtocol
from tests.certificates import Certificates


class Wire(asyncio.Transport):
    """What a layer writes to; a test takes it and carries it on."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def take(self) -> bytes:
        data = b"".join(self.written)
        self.written.clear()
        return data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def get_write_buffer_size(self) -> int:
        return len(b"".join(self.written))


class Top(asyncio.BufferedProtocol):
    """What stands on a layer."""

    def __init__(self, buffer: bytearray) -> None:
        self.received = b""
        self.pieces = 0
        self.events: list[str] = []
        self.error: Exception | None = None
        self._buffer = buffer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self._buffer[:nbytes]
        self.pieces += 1

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.error = exc


class End:
    """One end: a layer, what is below it and what stands on it."""

    def __init__(
        self, certificates: Certificates, *, server: bool, loop: Any, clock: ManualClock
    ) -> None:
        self.over: list[Exception | None] = []
        self.wire = Wire()
        settings: Any
        if server:
            settings = choose_server_settings(certificates.server_tls())
            options: dict[str, Any] = {"deadline": clock.time() + 20.0}
        else:
            settings = choose_client_settings(certificates.client_tls())
            options = {"server_name": "localhost"}
        self.layer = TlsProtocol(
            loop,
            clock,
            settings,
            lambda: self.top,
            lambda _, error: self.over.append(error),
            **options,
        )
        self.layer.connection_made(self.wire)
        # All connections of a loop read into one.
        self.top = Top(self.layer.get_buffer(-1))

    def feed(self, data: bytes, size: int) -> None:
        """Let bytes arrive, in pieces of this size."""
        buffer = self.layer.get_buffer(-1)
        size = min(size, len(buffer))
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            buffer[: len(piece)] = piece
            self.layer.buffer_updated(len(piece))


def carry(one: End, other: End, size: int) -> None:
    """Carry what was written both ways, until nothing is left to carry."""
    while one.wire.written or other.wire.written:
        other.feed(one.wire.take(), size)
        one.feed(other.wire.take(), size)
