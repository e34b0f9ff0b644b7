"""Where the requests of a stream come from, and what becomes of them when the call ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock
from tests.call.service import collect, collect_failing, message, serving, timer_set

pytestmark = pytest.mark.anyio


async def join(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return message(b",".join(await collect(requests)))


async def echo_all(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


class Source:
    """An asynchronous source that knows whether it was closed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.started = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self) -> AsyncIterator[BytesValue]:
        self.started.set()
        try:
            for number in range(self.count):
                yield message(b"%d" % number)
            await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_a_source_that_waits_is_closed_when_the_call_is_cancelled() -> None:
    source = Source(3)
    async with serving(bidi=echo_all) as stub:
        call = stub.bidi(source())
        assert [await call.receive() for _ in range(3)] == [message(b"%d" % n) for n in range(3)]
        call.cancel()
        await source.closed.wait()


async def test_a_source_that_waits_is_closed_when_the_server_ends_the_call() -> None:
    async def first(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return await anext(requests)

    async def refuse(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        raise gyr.PermissionDenied("no")
        yield message()

    async with serving(client_stream=first, bidi=refuse) as stub:
        source = Source(1)
        assert (await stub.client_stream(source())).value == b"0"
        await source.closed.wait()
        source = Source(1)
        with pytest.raises(gyr.PermissionDenied):
            await collect(stub.bidi(source()))
        await source.closed.wait()


async def test_a_source_that_waits_is_closed_when_the_deadline_passes() -> None:
    source = Source(1)
    clock = Clock()
    async with serving(clock=clock, client_stream=join) as stub:
        call = stub.client_stream(source(), timeout=5)
        await timer_set(clock, 5)
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await call
        await source.closed.wait()


async def test_a_source_that_waits_is_closed_when_the_block_is_left() -> None:
    source = Source(1)
    async with serving(bidi=echo_all) as stub:
        async with stub.bidi(source()) as call:
            await call.receive()
        assert source.closed.is_set()


async def test_a_source_that_takes_its_time() -> None:
    async def slow() -> AsyncIterator[BytesValue]:
        for number in range(5):
            await asyncio.sleep(0.001)
            yield message(b"%d" % number)

    async with serving(client_stream=join, bidi=echo_all) as stub:
        assert (await stub.client_stream(slow())).value == b"0,1,2,3,4"
        assert await collect(stub.bidi(slow())) == [b"%d" % number for number in range(5)]


async def test_a_source_may_be_the_replies_of_another_call() -> None:
    async def count(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        for number in range(100):
            yield message(b"%d" % number)

    async with serving(server_stream=count, client_stream=join, bidi=echo_all) as stub:
        numbers = [b"%d" % number for number in range(100)]
        assert await collect(stub.bidi(stub.server_stream(message()))) == numbers
        joined = await stub.client_stream(stub.bidi(stub.server_stream(message())))
        assert joined.value == b",".join(numbers)


async def test_the_error_of_a_call_that_is_a_source_is_raised() -> None:
    async def fail(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"one")
        raise gyr.DataLoss("the rest")

    async with serving(server_stream=fail, bidi=echo_all) as stub:
        replies, error = await collect_failing(stub.bidi(stub.server_stream(message())))
        assert (type(error), error.message) == (gyr.DataLoss, "the rest")
        assert replies in ([], [b"one"])


async def test_an_empty_source_and_an_endless_one() -> None:
    async def nothing() -> AsyncIterator[BytesValue]:
        return
        yield message()

    def endless() -> Iterator[BytesValue]:
        while True:
            yield message(b"x" * 1000)

    async with serving(client_stream=join, bidi=echo_all) as stub:
        assert (await stub.client_stream(nothing())).value == b""
        assert await collect(stub.bidi(nothing())) == []
        call = stub.bidi(endless())
        for _ in range(1000):
            assert await call.receive() == message(b"x" * 1000)
        call.cancel()


async def test_an_iterable_error_before_the_first_request() -> None:
    def source() -> Iterator[BytesValue]:
        raise LookupError("nothing there")
        yield message()

    async with serving(client_stream=join) as stub:
        with pytest.raises(LookupError, match="nothing there"):
            await stub.client_stream(source())
        assert (await stub.client_stream([message(b"x")])).value == b"x"


async def test_sending_by_hand_in_one_task_while_another_ends_the_call() -> None:
    async with serving(bidi=echo_all) as stub, stub.bidi() as call:

        async def send() -> int:
            sent = 0
            while True:
                try:
                    await call.send(message(b"x" * 10_000))
                except gyr.Cancelled:
                    return sent
                sent += 1

        task = asyncio.create_task(send())
        for _ in range(10):
            await call.receive()
        call.cancel()
        assert await task >= 10


async def test_what_is_sent_after_the_server_ended_with_ok_is_an_error_of_its_own() -> None:
    async def at_once(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        return
        yield message()

    async with serving(bidi=at_once) as stub:
        async with stub.bidi() as call:
            assert await call.receive() is None
            with pytest.raises(Exception, match="ended the call") as caught:
                await call.send(message())
            assert not isinstance(caught.value, gyr.RpcError)
            await call.done_sending()
        assert (await call.status()).ok
