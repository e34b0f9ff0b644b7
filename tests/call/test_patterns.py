"""The four patterns between a Gyrfalcon client and a Gyrfalcon server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import collect, message, serving

pytestmark = pytest.mark.anyio

DATA = [b"", b"one", b"two" * 100_000]


async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return message(b"reply to " + request.value)


async def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    for number in range(int(request.value)):
        yield message(b"%d" % number)


async def client_stream(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return message(b",".join(await collect(requests)))


async def bidi(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def test_unary() -> None:
    async with serving(unary=unary) as stub:
        assert (await stub.unary(message(b"a request"))).value == b"reply to a request"


async def test_unary_calls_one_after_another_share_a_connection() -> None:
    peers = set()

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        peers.add(ctx.peer)
        return request

    async with serving(unary=note) as stub:
        for _ in range(10):
            await stub.unary(message())
    assert len(peers) == 1


async def test_many_calls_at_once() -> None:
    async with serving(unary=unary) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(2000)]
        replies = [(await call).value for call in calls]
    assert replies == [b"reply to %d" % number for number in range(2000)]


@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_server_streaming(count: int) -> None:
    async with serving(server_stream=server_stream) as stub:
        replies = await collect(stub.server_stream(message(b"%d" % count)))
    assert replies == [b"%d" % number for number in range(count)]


async def test_receive_gives_none_at_the_end_again_and_again() -> None:
    async with serving(server_stream=server_stream) as stub:
        call = stub.server_stream(message(b"2"))
        received = [await call.receive() for _ in range(4)]
    assert received == [message(b"0"), message(b"1"), None, None]


@pytest.mark.parametrize("data", [[], DATA])
async def test_client_streaming_from_an_iterable(data: list[bytes]) -> None:
    async with serving(client_stream=client_stream) as stub:
        assert (await stub.client_stream(map(message, data))).value == b",".join(data)
        assert (await stub.client_stream([message(one) for one in data])).value == b",".join(data)


async def test_client_streaming_from_an_async_iterable() -> None:
    async def source() -> AsyncIterator[BytesValue]:
        for one in DATA:
            await asyncio.sleep(0)
            yield message(one)

    async with serving(client_stream=client_stream) as stub:
        assert (await stub.client_stream(source())).value == b",".join(DATA)


async def test_client_streaming_by_hand() -> None:
    async with serving(client_stream=client_stream) as stub, stub.client_stream() as call:
        for one in DATA:
            await call.send(message(one))
        await call.done_sending()
        assert (await call).value == b",".join(DATA)


async def test_awaiting_the_reply_half_closes() -> None:
    async with serving(client_stream=client_stream) as stub:
        call = stub.client_stream()
        await call.send(message(b"only"))
        assert (await call).value == b"only"


async def test_bidirectional_in_lockstep() -> None:
    async with serving(bidi=bidi) as stub, stub.bidi() as call:
        for one in DATA:
            await call.send(message(one))
            assert await call.receive() == message(one)
        await call.done_sending()
        assert await call.receive() is None


async def test_bidirectional_from_iterables() -> None:
    async def source() -> AsyncIterator[BytesValue]:
        for one in DATA:
            yield message(one)

    async with serving(bidi=bidi) as stub:
        assert await collect(stub.bidi(map(message, DATA))) == DATA
        assert await collect(stub.bidi(source())) == DATA
        assert await collect(stub.bidi([])) == []


async def test_bidirectional_with_a_sender_and_a_receiver() -> None:
    async with serving(bidi=bidi) as stub, stub.bidi() as call, asyncio.TaskGroup() as group:

        async def send() -> None:
            for number in range(500):
                await call.send(message(b"%d" % number))
            await call.done_sending()

        group.create_task(send())
        assert await collect(call) == [b"%d" % number for number in range(500)]


async def test_reads_go_on_after_the_half_close() -> None:
    async def late(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        everything = await collect(requests)
        for one in everything:
            yield message(one)

    async with serving(bidi=late) as stub, stub.bidi() as call:
        await call.send(message(b"before"))
        await call.done_sending()
        assert await collect(call) == [b"before"]


async def test_streaming_handlers_may_return_iterables() -> None:
    async def listed(request: BytesValue, ctx: gyr.ServerContext) -> list[BytesValue]:
        return [message(b"a"), message(b"b")]

    async def generated(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        return server_stream(message(b"3"), ctx)

    async def nothing(request: BytesValue, ctx: gyr.ServerContext) -> None:
        return None

    async with serving(server_stream=listed) as stub:
        assert await collect(stub.server_stream(message())) == [b"a", b"b"]
    async with serving(server_stream=generated) as stub:
        assert await collect(stub.server_stream(message())) == [b"0", b"1", b"2"]
    async with serving(server_stream=nothing) as stub:
        assert await collect(stub.server_stream(message())) == []


async def test_request_streams_may_be_left_unread() -> None:
    async def ignore(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return message(b"ignored")

    async with serving(client_stream=ignore) as stub:
        assert (await stub.client_stream(map(message, DATA))).value == b"ignored"
        for _ in range(3):
            assert (await stub.client_stream(map(message, DATA * 10))).value == b"ignored"


async def test_a_handler_may_return_before_the_client_has_sent_all() -> None:
    async def first(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return await anext(requests)

    sent = 0

    async def endless() -> AsyncIterator[BytesValue]:
        nonlocal sent
        while True:
            sent += 1
            yield message(b"x" * 10_000)

    async with serving(client_stream=first) as stub:
        assert (await stub.client_stream(endless())).value == b"x" * 10_000
        before = sent
        await asyncio.sleep(0)
        # Its task has ended with the call.
        assert sent == before
