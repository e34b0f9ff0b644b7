"""Connections, servers and channels that come and go, and what they leave open."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections.abc import Awaitable, Callable

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub
from tests.endurance.memory import resident_bytes
from tests.endurance.programs import count_threads, run, say

AT_ONCE = 20


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def echo_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def serve() -> tuple[gyr.Server, str]:
    server = gyr.Server([Calls(unary=echo)])
    return server, f"127.0.0.1:{await server.listen('127.0.0.1:0')}"


async def repeat(count: int, once: Callable[[], Awaitable[None]]) -> None:
    """Some at once: a connection is closed while others are opened."""
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await once()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


async def connections(count: int) -> None:
    """Connections of clients, to one server; every other one is dropped without a word."""
    server, target = await serve()
    port = int(target.rpartition(":")[2])

    async def once() -> None:
        async with gyr.Channel(target) as channel:
            await Stub(channel).unary(BytesValue())
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PRI * HTTP/2.0\r\n")
        writer.transport.abort()

    async with server:
        await repeat(count // 2, once)


async def servers(count: int) -> None:
    """Servers with a call each, in threads, and a connection that is open when they stop."""
    for _ in range(count):
        server = gyr.Server([Calls(unary=echo_in_thread)])
        async with server:
            target = f"127.0.0.1:{await server.listen('127.0.0.1:0')}"
            channel = gyr.Channel(target)
            await Stub(channel).unary(BytesValue())
            await server.stop()
        await server.stop(grace=1.0)  # has nothing to do, and nothing to wait for
        await channel.close()


async def channels(count: int) -> None:
    """Channels: that called, that were never used, that were closed while they connected."""
    server, target = await serve()

    async def once() -> None:
        async with gyr.Channel(target) as channel:
            await Stub(channel).unary(BytesValue())
        await gyr.Channel(target).close()
        async with gyr.Channel(target) as channel:
            call = Stub(channel).unary(BytesValue())
        assert (await call.status()).code is gyr.StatusCode.CANCELLED

    async with server:
        await repeat(count, once)


SCENARIOS = {"connections": connections, "servers": servers, "channels": channels}


def count_open() -> dict[str, int]:
    gc.collect()
    live = gc.get_objects()
    return {
        "descriptors": len(os.listdir("/dev/fd")),
        "threads": count_threads(),
        "tasks": len(asyncio.all_tasks()),
        "servers": sum(isinstance(each, gyr.Server) for each in live),
        "channels": sum(isinstance(each, gyr.Channel) for each in live),
        "protocols": sum(isinstance(each, asyncio.BaseProtocol) for each in live),
    }


async def come_and_go(scenario: str, count: int) -> None:
    await SCENARIOS[scenario](count // 10)
    before, resident = count_open(), resident_bytes()
    await SCENARIOS[scenario](count)
    after = count_open()
    say({"before": before, "after": after, "grown": resident_bytes() - resident})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    run(come_and_go(options.scenario, options.count), options.loop)


if __name__ == "__main__":
    main()
