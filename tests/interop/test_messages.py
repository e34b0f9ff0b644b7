"""Messages of every number and size, in all four patterns, between Gyrfalcon and grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.call.service import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY
from tests.interop.pairs import Pairing, call, echo, every_pairing, join
from tests.interop.servers import Context

pytestmark = [pytest.mark.anyio, every_pairing]

LARGE = bytes(range(256)) * (3 * 2**20 // 256)


@pytest.mark.parametrize("data", [b"", b"hello", LARGE], ids=["empty", "small", "3MiB"])
async def test_a_message_comes_back_in_every_pattern(pairing: Pairing, data: bytes) -> None:
    async with pairing.connect(echo) as client:
        for method in (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI):
            outcome = await call(client, method, [data])
            assert (outcome.code, outcome.message) == (0, "")
            assert outcome.replies == [data]


async def test_empty_streams(pairing: Pairing) -> None:
    async def none(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        return
        yield

    async with pairing.connect(none) as client:
        assert (await call(client, SERVER_STREAM, [b""])).replies == []
        assert (await call(client, BIDI, [])).replies == []
    async with pairing.connect(join) as client:
        outcome = await call(client, CLIENT_STREAM, [])
        assert (outcome.code, outcome.replies) == (0, [b""])


async def test_a_thousand_requests(pairing: Pairing) -> None:
    requests = [b"%04d" % number for number in range(1000)]
    async with pairing.connect(join) as client:
        assert (await call(client, CLIENT_STREAM, requests)).replies == [b"".join(requests)]


async def test_a_thousand_replies(pairing: Pairing) -> None:
    async def count(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        for number in range(1000):
            yield b"%04d" % number

    async with pairing.connect(count) as client:
        outcome = await call(client, SERVER_STREAM, [b""])
        assert outcome.replies == [b"%04d" % number for number in range(1000)]
        assert outcome.code == 0


async def test_a_thousand_each_way(pairing: Pairing) -> None:
    requests = [b"%04d" % number for number in range(1000)]
    async with pairing.connect(echo) as client:
        assert (await call(client, BIDI, requests)).replies == requests


async def test_large_streams_each_way(pairing: Pairing) -> None:
    requests = [bytes([number]) * 2**20 for number in range(8)]
    async with pairing.connect(echo) as client:
        assert (await call(client, BIDI, requests)).replies == requests


async def test_a_reply_comes_before_the_next_request_goes(pairing: Pairing) -> None:
    async with pairing.connect(echo) as client:
        running = client.start(BIDI, None)
        for number in range(50):
            await running.send(b"%d" % number)
            assert await running.receive() == b"%d" % number
        await running.done_sending()
        assert await running.receive() is None
        assert (await running.outcome()).code == 0


async def test_replies_come_before_the_first_request(pairing: Pairing) -> None:
    async def greet(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        yield b"who is there?"
        async for request in requests:
            yield request

    async with pairing.connect(greet) as client:
        running = client.start(BIDI, None)
        assert await running.receive() == b"who is there?"
        await running.send(b"I")
        await running.done_sending()
        assert (await running.outcome()).replies == [b"I"]


async def test_a_stream_goes_on_after_its_client_has_half_closed(pairing: Pairing) -> None:
    closed = asyncio.Event()

    async def answer_later(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        closed.set()
        for number in range(10):
            yield b"%d" % number

    async with pairing.connect(answer_later) as client:
        running = client.start(BIDI, None)
        await running.send(b"")
        await running.done_sending()
        await closed.wait()
        assert (await running.outcome()).replies == [b"%d" % number for number in range(10)]


async def test_many_streams_at_once_do_not_mix(pairing: Pairing) -> None:
    async with pairing.connect(echo) as client:
        outcomes = await asyncio.gather(
            *(call(client, BIDI, [b"%d %d" % (n, m) for m in range(20)]) for n in range(8))
        )
        assert [outcome.replies for outcome in outcomes] == [
            [b"%d %d" % (n, m) for m in range(20)] for n in range(8)
        ]
