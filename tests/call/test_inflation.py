"""Large compressed messages are inflated in parts, so that other calls have their turn of the loop
in between, and arrive whole whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.rpc.compression import GZIP
from tests.call.inflating import ALLOWANCE, MIB, InParts, Whole, add
from tests.call.service import Stub, serving

pytestmark = pytest.mark.anyio

CALLS = 10
# Each is known from the others.
LARGE = [BytesValue(value=bytes([number]) * MIB) for number in range(CALLS)]


def total(messages: Iterable[BytesValue]) -> int:
    return sum(message.ByteSize() for message in messages)


@pytest.fixture(params=[Whole, InParts])
async def compression(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Whole:
    made: Whole = request.param()
    add(made, monkeypatch)
    return made


@pytest.fixture
async def in_parts(monkeypatch: pytest.MonkeyPatch) -> InParts:
    made = InParts()
    add(made, monkeypatch)
    return made


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def count(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    firsts = [request.value[:1] async for request in requests]
    return BytesValue(value=b"".join(firsts))


async def answer(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    ctx.compression = request.value.decode()
    return LARGE[0]


async def answer_all(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    ctx.compression = request.value.decode()
    for message in LARGE:
        yield message


async def test_one_request_of_each_call(compression: Whole) -> None:
    async with serving(unary=echo) as stub:
        calls = [stub.unary(one, compression=compression.name) for one in LARGE]
        plain = [stub.unary(BytesValue(value=b"plain")) for _ in LARGE]
        assert [await call for call in calls] == LARGE
        assert [(await call).value for call in plain] == [b"plain"] * CALLS
    assert compression.total == total(LARGE)
    assert compression.most < ALLOWANCE + compression.most_over


async def test_a_stream_of_requests(compression: Whole) -> None:
    async with serving(client_stream=count) as stub:
        reply = await stub.client_stream(LARGE, compression=compression.name)
    assert reply.value == bytes(range(CALLS))
    assert compression.total == total(LARGE)
    assert compression.most < ALLOWANCE + compression.most_over


async def test_the_reply_of_each_call(compression: Whole) -> None:
    async with serving(unary=answer) as stub:
        calls = [stub.unary(BytesValue(value=compression.name.encode())) for _ in LARGE]
        replies = await asyncio.gather(*calls)
        assert [call.reply_compressed for call in calls] == [True] * CALLS
    assert replies == [LARGE[0]] * CALLS
    assert compression.total == CALLS * LARGE[0].ByteSize()
    assert compression.most < ALLOWANCE + compression.most_over


async def test_a_stream_of_replies(compression: Whole) -> None:
    async with serving(server_stream=answer_all) as stub:
        call = stub.server_stream(BytesValue(value=compression.name.encode()))
        assert [reply async for reply in call] == LARGE
    assert compression.total == total(LARGE)
    assert compression.most < ALLOWANCE + compression.most_over


async def test_connections_share_a_turn(in_parts: InParts) -> None:
    """Each with a channel of its own, and so with its own connection."""
    async with serving(unary=echo) as one, one.served.channel() as channel:
        other = Stub(channel)
        calls = [
            stub.unary(message, compression="in-parts")
            for message in LARGE
            for stub in (one, other)
        ]
        assert [await call for call in calls] == [one for one in LARGE for _ in range(2)]
    assert in_parts.total == 2 * total(LARGE)
    # The first turn, when it is not known yet that there are two.
    assert in_parts.most < 2 * ALLOWANCE + in_parts.most_over


async def test_a_call_may_end_while_its_request_is_inflated(in_parts: InParts) -> None:
    async with serving(unary=echo) as stub:
        call = stub.unary(LARGE[0], compression="in-parts")
        await in_parts.begun.wait()
        assert in_parts.total < MIB
        call.cancel()
        with pytest.raises(gyr.Cancelled):
            await call
        # Also on the same connection.
        assert await stub.unary(LARGE[1], compression="in-parts") == LARGE[1]


async def test_a_call_may_end_while_its_reply_is_inflated(in_parts: InParts) -> None:
    async with serving(server_stream=answer_all, bidi=echo_all) as stub:
        async with stub.bidi() as call:
            await call.send(LARGE[0])
            taking = asyncio.create_task(receive(call))
            await in_parts.begun.wait()
            assert in_parts.total < MIB
            assert call.cancel()
            with pytest.raises(gyr.Cancelled):
                await taking
        replies = stub.server_stream(BytesValue(value=b"in-parts"))
        assert [reply async for reply in replies] == LARGE


async def receive(call: gyr.StreamStreamCall[BytesValue, BytesValue]) -> BytesValue | None:
    return await call.receive()


async def test_the_status_may_be_asked_for_meanwhile(in_parts: InParts) -> None:
    async with serving(unary=answer) as stub:
        call = stub.unary(BytesValue(value=b"in-parts"))
        taking = asyncio.create_task(take(call))
        await in_parts.begun.wait()
        assert in_parts.total < MIB
        assert (await call.status()).code is gyr.StatusCode.OK
        assert await taking == LARGE[0]
    assert in_parts.total == LARGE[0].ByteSize()


async def take(call: gyr.UnaryUnaryCall[BytesValue]) -> BytesValue:
    return await call


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda packed: packed[:-1], gyr.StatusCode.INTERNAL),
        (lambda packed: packed + b"x", gyr.StatusCode.INTERNAL),
        (lambda packed: GZIP.compress(bytes(5 * MIB)), gyr.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["cut short", "followed by something", "too large"],
)
async def test_what_is_found_late_ends_the_call(
    in_parts: InParts,
    damage: Callable[[bytes], bytes],
    code: gyr.StatusCode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_parts, "compress", lambda data: damage(GZIP.compress(data)))
    async with serving(unary=echo, client_stream=count) as stub:
        with pytest.raises(gyr.RpcError) as caught:
            await stub.unary(LARGE[0], compression="in-parts")
        with pytest.raises(gyr.RpcError) as caught_of_stream:
            await stub.client_stream([LARGE[0]], compression="in-parts")
        assert (caught.value.code, caught_of_stream.value.code) == (code, code)
        assert await stub.unary(BytesValue(value=b"next")) == BytesValue(value=b"next")


class Sizes(gyr.Interceptor):
    """Notes the sizes of the messages that pass."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def request(self, call: gyr.InterceptedCall, message: BytesValue) -> BytesValue:
        self.seen.append(len(message.value))
        return message

    def reply(self, call: gyr.InterceptedCall, message: BytesValue) -> BytesValue:
        self.seen.append(len(message.value))
        return message


async def test_interceptors_see_whole_messages(in_parts: InParts) -> None:
    at_server, at_client = Sizes(), Sizes()
    async with serving(
        {"interceptors": [at_server]},
        {"interceptors": [at_client]},
        unary=answer,
        bidi=echo_all,
    ) as stub:
        assert await stub.unary(BytesValue(value=b"in-parts")) == LARGE[0]
        async with stub.bidi(LARGE[:2], compression="in-parts") as call:
            assert [reply async for reply in call] == LARGE[:2]
    sizes = [len(b"in-parts"), MIB, MIB, MIB, MIB, MIB]
    assert (sorted(at_server.seen), sorted(at_client.seen)) == (sizes, sizes)


async def echo_all(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    ctx.compression = "in-parts"
    async for request in requests:
        yield request
