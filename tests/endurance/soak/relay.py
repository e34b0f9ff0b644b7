"""A relay of TCP connections between clients and one server, which can break and delay them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque


class Pipe(asyncio.Protocol):
    """One side of a relayed connection."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.other: Pipe | None = None
        self.transport: asyncio.Transport | None = None
        self.held: list[bytes] = []
        # What is delayed, in its order: timers of one moment may fire in any.
        self.late: deque[bytes] = deque()
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.relay.pipes.add(self)

    def data_received(self, data: bytes) -> None:
        if self.relay.silent:
            # As on the way to a machine that has lost its power.
            return
        if self.relay.delay or self.late:
            loop = asyncio.get_running_loop()
            self.late.append(data)
            self.due = max(self.due, loop.time() + self.relay.delay)
            loop.call_at(self.due, self.pass_on_late)
        else:
            self.pass_on(data)

    def pass_on_late(self) -> None:
        self.pass_on(self.late.popleft())

    def pass_on(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.held.append(data)
        else:
            self.other.transport.write(data)

    def join(self, other: Pipe) -> None:
        self.other, other.other = other, self
        for one in (self, other):
            held, one.held = one.held, []
            for data in held:
                one.pass_on(data)

    # Back-pressure: what one side does not take is not read from the other.
    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        other = self.other
        if other is not None and other.transport is not None and not other.transport.is_closing():
            other.transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.relay.pipes.discard(self)
        other, self.other = self.other, None
        if other is not None and other.transport is not None and not self.relay.silent:
            other.transport.close()

    def reset(self) -> None:
        """Break the connection with a RST."""
        if self.transport is None:
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Relay:
    """Listens on a port of its own and connects each client to the server."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self.pipes: set[Pipe] = set()
        self.delay = 0.0
        """seconds that bytes take, each way"""
        self.silent = False
        """whether bytes vanish: connections are half-open then"""
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> Pipe:
        pipe = Pipe(self)
        task = asyncio.get_running_loop().create_task(self._connect(pipe))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return pipe

    async def _connect(self, pipe: Pipe) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, there = await loop.create_connection(lambda: Pipe(self), *self._address)
        except OSError:
            if pipe.transport is not None:
                pipe.transport.abort()
            return
        pipe.join(there)

    def reset(self) -> None:
        """Break every connection."""
        for pipe in list(self.pipes):
            pipe.reset()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
