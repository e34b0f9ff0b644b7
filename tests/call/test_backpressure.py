"""A side that is not read is held up: what waits is bounded by the windows, in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import collect, message, serving

pytestmark = pytest.mark.anyio

CHUNK = b"x" * 10_000
# Window, both queues, what the kernel's sockets hold on loopback, and to spare. The streams here
# have no end: a side that is not held up passes every bound.
BOUND = 64 * 2**20
SMALL_WINDOWS = {"stream_window": 65535, "connection_window": 65535}


async def standstill(progress: list[int]) -> int:
    """Waits until nothing has moved for many turns of the loop; how far it had come."""
    last, turns = -1, 0
    while turns < 200:
        turns = turns + 1 if progress[0] == last else 0
        last = progress[0]
        assert last * len(CHUNK) < BOUND
        await asyncio.sleep(0)
    return last


async def test_a_handler_is_held_up_by_a_client_that_does_not_read() -> None:
    produced = [0]

    async def endless(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        while True:
            produced[0] += 1
            yield message(CHUNK)

    async with serving(None, SMALL_WINDOWS, server_stream=endless) as stub:
        call = stub.server_stream(message())
        assert await call.receive() is not None
        held = await standstill(produced)
        for _ in range(50):
            await call.receive()
        assert await standstill(produced) > held
        call.cancel()


async def test_a_client_is_held_up_by_a_handler_that_does_not_read() -> None:
    sent = [0]
    read = asyncio.Event()

    async def later(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        await read.wait()
        return message(b"%d" % len(await collect(requests)))

    async with serving(SMALL_WINDOWS, client_stream=later) as stub, stub.client_stream() as call:

        async def send() -> None:
            while not read.is_set():
                await call.send(message(CHUNK))
                sent[0] += 1
            await call.done_sending()

        task = asyncio.create_task(send())
        held = await standstill(sent)
        assert not task.done()
        read.set()
        await task
        assert (await call).value == b"%d" % sent[0]
        assert sent[0] >= held


async def test_a_source_is_held_up_by_a_handler_that_does_not_read() -> None:
    taken = [0]

    async def never(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        await asyncio.Event().wait()
        return message()

    def endless() -> Iterator[BytesValue]:
        while True:
            taken[0] += 1
            yield message(CHUNK)

    async with serving(SMALL_WINDOWS, client_stream=never) as stub:
        call = stub.client_stream(endless())
        held = await standstill(taken)
        assert 6 < held < 1000
        call.cancel()


async def test_a_stream_that_nobody_reads_does_not_hold_up_its_neighbours() -> None:
    produced = [0]

    async def endless(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        while True:
            produced[0] += 1
            yield message(CHUNK)

    async def large(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(CHUNK * 100)

    async with serving(None, SMALL_WINDOWS, server_stream=endless, unary=large) as stub:
        stalled = stub.server_stream(message())
        await stalled.receive()
        await standstill(produced)
        for _ in range(5):
            assert (await stub.unary(message())).value == CHUNK * 100
        assert await stalled.receive() == message(CHUNK)
        stalled.cancel()


async def test_both_directions_of_a_stream_may_stand_still_and_go_on() -> None:
    echoed = [0]

    async def echo(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            echoed[0] += 1
            yield request

    sent = [0]

    async def source() -> AsyncIterator[BytesValue]:
        for _ in range(2000):
            sent[0] += 1
            yield message(CHUNK)

    async with serving(SMALL_WINDOWS, SMALL_WINDOWS, bidi=echo) as stub:
        call = stub.bidi(source())
        await standstill(echoed)
        assert await standstill(sent) < 2000
        assert len(await collect(call)) == 2000


async def test_a_def_handler_is_held_up_by_a_client_that_does_not_read() -> None:
    produced = 0

    def endless(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        nonlocal produced
        while True:
            produced += 1
            yield message(CHUNK)

    async with serving(None, SMALL_WINDOWS, server_stream=endless) as stub:
        call = stub.server_stream(message())
        for _ in range(2000):
            assert await call.receive() == message(CHUNK)
        # It is ahead by the windows and the queue between its thread and the loop, no more.
        assert produced * len(CHUNK) < BOUND
        call.cancel()


async def test_a_message_that_is_larger_than_the_windows_passes() -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async with serving(SMALL_WINDOWS, SMALL_WINDOWS, unary=echo) as stub:
        assert (await stub.unary(message(b"x" * 3_000_000))).value == b"x" * 3_000_000
