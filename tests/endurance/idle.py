"""A server with many idle connections or streams, and the client that holds them open."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub
from tests.endurance.memory import resident_bytes
from tests.endurance.programs import run, say, stdin_ends

# Opened before the first look: what the first of a kind allocates is not the cost of one more.
WARM_CONNECTIONS = 20
CONNECTIONS_WITH_STREAMS = 20
WARM_STREAMS = 20


async def weigh(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return BytesValue(value=json.dumps(resident_bytes()).encode())


async def chat(
    requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def serve() -> None:
    async with gyr.Server([Calls(unary=weigh, bidi=chat)]) as server:
        say(await server.listen("127.0.0.1:0"))
        await stdin_ends()


class Holder:
    """Connections and streams, each of which has served something and then waits."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.kept = AsyncExitStack()
        self.stubs: list[Stub] = []

    async def resident(self) -> int:
        """The server's."""
        reply = await self.stubs[0].unary(BytesValue())
        size: int = json.loads(reply.value)
        return size

    async def open_connection(self) -> None:
        stub = Stub(await self.kept.enter_async_context(gyr.Channel(self.target)))
        self.stubs.append(stub)
        await stub.unary(BytesValue())

    async def open_stream(self, stub: Stub) -> None:
        call = await self.kept.enter_async_context(stub.bidi())
        await call.send(BytesValue(value=b"a message like others"))
        await call.receive()

    async def open_streams(self, each: int) -> None:
        for _ in range(each):
            for stub in self.stubs:
                await self.open_stream(stub)

    async def connections(self, count: int) -> float:
        """Bytes of the server for each connection."""
        for _ in range(WARM_CONNECTIONS):
            await self.open_connection()
        before = await self.resident()
        for _ in range(count):
            await self.open_connection()
        return (await self.resident() - before) / count

    async def streams(self, count: int) -> float:
        """Bytes of the server for each stream."""
        for _ in range(CONNECTIONS_WITH_STREAMS):
            await self.open_connection()
        await self.open_streams(WARM_STREAMS)
        before = await self.resident()
        await self.open_streams(count // CONNECTIONS_WITH_STREAMS)
        return (await self.resident() - before) / count


async def hold(target: str, kind: str, count: int) -> None:
    holder = Holder(target)
    measure: Callable[[int], Awaitable[float]] = getattr(holder, kind)
    async with holder.kept:
        say(await measure(count))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("serve", "connections", "streams"))
    parser.add_argument("loop")
    parser.add_argument("--port", type=int)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    if options.verb == "serve":
        run(serve(), options.loop)
    else:
        run(hold(f"127.0.0.1:{options.port}", options.verb, options.count), options.loop)


if __name__ == "__main__":
    main()
