"""Messages that are too large, and compressed ones, between Gyrfalcon and grpcio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import gyrfalcon as gyr
from tests.call.service import BIDI, METHODS, UNARY
from tests.interop.clients import Method
from tests.interop.pairs import Pairing, call, echo, every_pairing
from tests.interop.servers import RAW_METHODS, Context

pytestmark = [pytest.mark.anyio, every_pairing]

RAW_UNARY, RAW_SERVER_STREAM, RAW_CLIENT_STREAM, RAW_BIDI = RAW_METHODS
by_name = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


async def drain(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
    async for _ in requests:
        pass
    yield b""


@pytest.mark.parametrize("method", RAW_METHODS, ids=lambda method: method.name)
async def test_a_request_of_the_largest_size_passes_and_a_larger_one_is_refused(
    pairing: Pairing, method: Method
) -> None:
    async with pairing.connect(drain, raw=True, max_request_bytes=100_000) as client:
        assert (await call(client, method, [b"x" * 100_000])).code == 0
        outcome = await call(client, method, [b"x" * 100_001])
        expected = {gyr.StatusCode.RESOURCE_EXHAUSTED}
        if pairing.from_aio and method is RAW_BIDI:
            # grpc.aio says INTERNAL when a stream ends while it writes, whoever its server is.
            expected.add(gyr.StatusCode.INTERNAL)
        assert outcome.code in expected
        if pairing.own_server and outcome.code == gyr.StatusCode.RESOURCE_EXHAUSTED:
            assert "100001" in outcome.message
            assert "max_receive_bytes=100000" in outcome.message
        assert (await call(client, method, [b"x" * 100_000])).code == 0


@pytest.mark.parametrize("method", RAW_METHODS, ids=lambda method: method.name)
async def test_a_reply_of_the_largest_size_passes_and_a_larger_one_is_refused(
    pairing: Pairing, method: Method
) -> None:
    async def large(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield b"x" * int(request)

    async with pairing.connect(large, raw=True, max_reply_bytes=100_000) as client:
        assert (await call(client, method, [b"100000"])).replies == [b"x" * 100_000]
        outcome = await call(client, method, [b"100001"])
        assert (outcome.code, outcome.replies) == (gyr.StatusCode.RESOURCE_EXHAUSTED, [])
        if not pairing.own_server:
            assert "100001" in outcome.message
            assert "max_receive_bytes=100000" in outcome.message
        assert (await call(client, method, [b"100000"])).code == 0


async def test_the_default_limit_is_4_mib(pairing: Pairing) -> None:
    async with pairing.connect(drain, raw=True) as client:
        assert (await call(client, RAW_UNARY, [b"x" * 2**22])).code == 0
        outcome = await call(client, RAW_UNARY, [b"x" * (2**22 + 1)])
        assert outcome.code == gyr.StatusCode.RESOURCE_EXHAUSTED


async def test_good_replies_before_one_that_is_too_large_arrive(pairing: Pairing) -> None:
    async def growing(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        yield b"small"
        yield await anext(requests)
        yield b"x" * 1001

    async with pairing.connect(growing, raw=True, max_reply_bytes=1000) as client:
        running = client.start(RAW_BIDI, None)
        assert await running.receive() == b"small"
        await running.send(b"go on")
        assert await running.receive() == b"go on"
        assert (await running.outcome()).code == gyr.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
@pytest.mark.parametrize("data", [b"", b"x", b"compressible " * 50_000], ids=len)
@by_name
async def test_compressed_requests_and_replies(
    pairing: Pairing, method: Method, compression: str, data: bytes
) -> None:
    async def compressed(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        ctx.compress(compression)
        async for request in requests:
            yield request

    async with pairing.connect(compressed) as client:
        outcome = await call(client, method, [data], compression=compression)
        assert (outcome.code, outcome.replies) == (0, [data])


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
async def test_streams_of_compressed_messages(pairing: Pairing, compression: str) -> None:
    async def compressed(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        ctx.compress(compression)
        async for request in requests:
            yield request

    requests = [b"%d " % number * 1000 for number in range(200)]
    async with pairing.connect(compressed) as client:
        outcome = await call(client, BIDI, requests, compression=compression)
        assert outcome.replies == requests


async def test_only_one_side_may_compress(pairing: Pairing) -> None:
    async with pairing.connect(echo) as client:
        outcome = await call(client, UNARY, [b"x" * 10_000], compression="gzip")
        assert (outcome.code, outcome.replies) == (0, [b"x" * 10_000])


@pytest.mark.parametrize("method", [RAW_UNARY, RAW_CLIENT_STREAM], ids=lambda method: method.name)
async def test_the_limit_is_that_of_the_message_when_it_is_inflated(
    pairing: Pairing, method: Method
) -> None:
    async with pairing.connect(drain, raw=True, max_request_bytes=100_000) as client:
        for size, code in ((100_000, 0), (100_001, 8), (3_000_000, 8)):
            outcome = await call(client, method, [bytes(size)], compression="gzip")
            assert outcome.code == code


@pytest.mark.parametrize("method", [RAW_UNARY, RAW_SERVER_STREAM], ids=lambda method: method.name)
async def test_the_limit_of_replies_is_that_of_the_message_when_it_is_inflated(
    pairing: Pairing, method: Method
) -> None:
    async def large(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        ctx.compress("gzip")
        async for request in requests:
            yield bytes(int(request))

    async with pairing.connect(large, raw=True, max_reply_bytes=100_000) as client:
        for size, code in ((100_000, 0), (100_001, 8), (3_000_000, 8)):
            assert (await call(client, method, [b"%d" % size])).code == code
