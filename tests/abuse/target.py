"""The server that is attacked: a process of its own, so that its memory is its own.

It prints its port, and then, for each line on its standard input, its figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.transport.loops import freeze_heap
from tests.abuse.program import Program
from tests.call.service import Calls
from tests.endurance.memory import read_status, resident_bytes

STREAM_LIMIT = 1_000
PIECE = BytesValue(value=bytes(1000))


class Growth:
    """How far resident memory rises from now on. Without a collection, which neighbours notice."""

    def __init__(self) -> None:
        # proc(5): 5 sets the peak, VmHWM, back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
        self.before = resident_bytes()

    def growth(self) -> int:
        """Bytes."""
        return read_status("VmHWM") - self.before


class Target:
    """The handlers, and how many of them run."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield
        finally:
            self.running -= 1

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        with self.counted():
            return request

    async def client_stream(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        with self.counted():
            size = 0
            async for request in requests:
                size += len(request.value)
            return BytesValue(value=str(size).encode())

    async def server_stream(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        with self.counted():
            for _ in range(int(request.value)):
                yield PIECE

    async def bidi(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        with self.counted():
            async for request in requests:
                yield request


async def serve() -> None:
    target = Target()
    service = Calls(
        unary=target.unary,
        client_stream=target.client_stream,
        server_stream=target.server_stream,
        bidi=target.bidi,
    )
    server = gyr.Server([service], max_concurrent_streams=STREAM_LIMIT)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    async with server:
        # As Server.run does.
        freeze_heap()
        print(await server.listen("127.0.0.1:0"), flush=True)
        peak = Growth()
        while line := await lines.readline():
            if line == b"reset\n":
                target.most = target.running
                peak = Growth()
            figures = {
                "resident": resident_bytes(),
                "growth": peak.growth(),
                "running": target.running,
                "most": target.most,
                "limits": server.stats().limits,
                "connections": len(server.stats().connections),
            }
            print(json.dumps(figures), flush=True)
    transport.close()


class Process(Program):
    """The running target, as tests see it."""

    def __init__(self) -> None:
        super().__init__("tests.abuse.target")
        self.port = int(self.read_line())
        # Connections of others, which stay.
        self.neighbours = 0

    def figures(self, command: str = "figures") -> dict[str, Any]:
        return self.ask(command)

    def wait_for_handlers(self, count: int) -> None:
        """Wait until so many run."""
        while self.figures()["running"] < count:
            pass

    def settled(self) -> dict[str, Any]:
        """The figures when the attacker's connection and its handlers are gone."""
        while (found := self.figures())["running"] or found["connections"] > self.neighbours:
            pass
        return found


if __name__ == "__main__":
    asyncio.run(serve())
