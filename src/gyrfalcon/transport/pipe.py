"""A connection in memory: two transports of one loop, and a pipe for each direction."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from .clock import Clock

log = logging.getLogger("gyrfalcon.transport")

# What may be on its way before the writer is told to wait, and what is left when it may go on.
_HIGH_WATER = 64 * 1024
_LOW_WATER = 16 * 1024
# What sums of seconds in binary may be off by.
_ROUNDING = 1e-9


class Pipe:
    """One direction of a connection: bytes, and the end, on their way to a transport.

    `delay` is seconds that they take, by the clock; while `blocked` is true nothing arrives.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, context: contextvars.Context
    ) -> None:
        self.delay = 0.0
        self.blocked = False
        self.reader: MemoryTransport
        self.writer: MemoryTransport
        self._loop = loop
        self._clock = clock
        self._context = context
        # Each with when it arrives; None is the end.
        self._on_the_way: deque[tuple[float, bytes | None]] = deque()
        self.size = 0
        self._scheduled = False
        self._timer: Any = None

    def send(self, data: bytes | None) -> None:
        """Put bytes on their way, or the end."""
        arrival = self._clock.time() + self.delay if self.delay else 0.0
        if self._on_the_way:
            # Nothing overtakes what was sent before.
            arrival = max(arrival, self._on_the_way[-1][0])
        self._on_the_way.append((arrival, data))
        self.size += len(data or b"")
        self.schedule()

    def schedule(self) -> None:
        """Let arrive what can, when the loop turns."""
        if not self._scheduled and self._on_the_way:
            self._scheduled = True
            self._loop.call_soon(self._deliver, context=self._context)

    def hurry(self) -> None:
        """Let what is on its way arrive at once."""
        self._on_the_way = deque((0.0, data) for _, data in self._on_the_way)
        self.schedule()

    def discard(self) -> None:
        """Lose what is on its way."""
        self._on_the_way.clear()
        self.size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _deliver(self) -> None:
        self._scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._on_the_way
        while waiting and not self.blocked and self.reader.takes_bytes():
            arrival, data = waiting[0]
            left = arrival - self._clock.time() if arrival else 0.0
            if left > _ROUNDING:
                self._timer = self._clock.call_at(self._loop, arrival, self.schedule)
                break
            waiting.popleft()
            if data is None:
                self.reader.take_end()
            else:
                self.size -= len(data)
                self.reader.take(data)
        if self.size <= _LOW_WATER:
            self.writer.go_on_writing()


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.BaseProtocol,
        incoming: Pipe,
        outgoing: Pipe,
        extra: dict[str, Any],
        context: contextvars.Context,
    ) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol: Any = protocol
        self.incoming = incoming
        self.outgoing = outgoing
        """What it writes, on its way."""
        self._context = context
        incoming.reader = outgoing.writer = self
        self._reading = True
        self._started = False
        self._paused = False
        self._ended = False
        self._closing = False
        self.lost = False
        """Whether its protocol was told that the connection is gone."""

    # ------------------------------------------------------------------ asyncio's transport

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that uses it."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol use it."""
        self._protocol = protocol

    def is_reading(self) -> bool:
        """Whether what arrives goes to the protocol."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Let what arrives wait."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take it again."""
        self._reading = True
        self.incoming.schedule()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send bytes."""
        if self._closing or not data:
            return
        if self._ended:
            raise RuntimeError("nothing can be written after write_eof()")
        self.outgoing.send(bytes(data))
        if self.outgoing.size > _HIGH_WATER and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Send bytes."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Whether one direction may end alone."""
        return True

    def write_eof(self) -> None:
        """End this direction."""
        if not (self._ended or self._closing):
            self._ended = True
            self.outgoing.send(None)

    def get_write_buffer_size(self) -> int:
        """Bytes that are on their way."""
        return self.outgoing.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The marks at which the protocol is told to go on and to wait."""
        return _LOW_WATER, _HIGH_WATER

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def close(self) -> None:
        """Close after what was written."""
        if not self._closing:
            self.write_eof()
            self.lose(None)

    def abort(self) -> None:
        """Close now; what is on its way is lost."""
        if not self._closing:
            self.outgoing.discard()
            self._ended = False
            self.close()

    # ------------------------------------------------------------------ for the pipes

    def start(self, made: asyncio.Future[None] | None = None) -> None:
        """Tell the protocol that it is connected, when the loop turns."""
        self._loop.call_soon(self._start, made, context=self._context)

    def _start(self, made: asyncio.Future[None] | None) -> None:
        if self._closing:
            return
        self._started = True
        try:
            self._protocol.connection_made(self)
        finally:
            if made is not None and not made.done():
                made.set_result(None)

    def takes_bytes(self) -> bool:
        """Whether its pipe may deliver."""
        return self._reading or self._closing

    def take(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._closing:
            return
        try:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                self._fill(memoryview(data))
            else:
                self._protocol.data_received(data)
        except Exception as error:
            log.exception("%r: its protocol failed", self)
            self.outgoing.discard()
            self.outgoing.send(None)
            self.lose(error)

    def _fill(self, data: memoryview[Any]) -> None:
        while data and not self._closing:
            buffer = memoryview(self._protocol.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self._protocol.buffer_updated(size)
            data = data[size:]

    def take_end(self) -> None:
        """The other end has sent all."""
        if not self._closing and not self._protocol.eof_received():
            self.close()

    def go_on_writing(self) -> None:
        """There is room again."""
        if self._paused:
            self._paused = False
            if not self._closing:
                self._protocol.resume_writing()

    def lose(self, error: Exception | None) -> None:
        """End here, and tell the protocol so when the loop turns."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lost, error, context=self._context)

    def _lost(self, error: Exception | None) -> None:
        self.lost = True
        # Nobody reads any more: what is still to come is of no use.
        self.incoming.discard()
        if self._started:
            self._protocol.connection_lost(error)

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open"
        return f"<MemoryTransport {self.get_extra_info('sockname')} {state}>"


def join(
    loop: asyncio.AbstractEventLoop,
    clock: Clock,
    protocols: tuple[asyncio.BaseProtocol, asyncio.BaseProtocol],
    names: tuple[Any, Any],
    contexts: tuple[contextvars.Context, contextvars.Context],
    made: asyncio.Future[None] | None = None,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Connect two protocols: the one that connects, and the one that was listening.

    They are told when the loop turns, each in its context; `made` is done then.
    """
    there, back = Pipe(loop, clock, contexts[1]), Pipe(loop, clock, contexts[0])
    ends = []
    for side, (incoming, outgoing) in enumerate(((back, there), (there, back))):
        extra = {"sockname": names[side], "peername": names[1 - side]}
        ends.append(
            MemoryTransport(loop, protocols[side], incoming, outgoing, extra, contexts[side])
        )
    client, server = ends
    server.start()
    client.start(made)
    return client, server
