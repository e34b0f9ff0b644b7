"""Deadlines and cancellation, seen by both sides, between Gyrfalcon and grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import gyrfalcon as gyr
from tests.call.service import (
    BIDI,
    CLIENT_STREAM,
    METHODS,
    SERVER_STREAM,
    TIMEOUTS_S,
    UNARY,
)
from tests.interop.clients import Method
from tests.interop.pairs import Pairing, call, every_pairing
from tests.interop.servers import Context

pytestmark = [pytest.mark.anyio, every_pairing]

by_name = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


class Waiting:
    """A handler that waits after `replies` replies, until it is cancelled, and tells of it."""

    def __init__(self, replies: int = 0) -> None:
        self.replies = replies
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        await anext(requests)
        try:
            for number in range(self.replies):
                yield b"%d" % number
            self.started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        yield b""


@by_name
async def test_the_deadline_ends_the_call_at_both_ends(pairing: Pairing, method: Method) -> None:
    handler = Waiting()
    async with pairing.connect(handler) as client:
        for timeout in TIMEOUTS_S:
            outcome = await call(client, method, [b""], timeout=timeout)
            assert outcome.code == gyr.StatusCode.DEADLINE_EXCEEDED
            if handler.started.is_set():
                break
        await handler.cancelled.wait()


async def test_replies_before_the_deadline_arrive(pairing: Pairing) -> None:
    handler = Waiting(replies=3)
    replies: list[bytes] = []
    async with pairing.connect(handler) as client:
        for timeout in TIMEOUTS_S:
            running = client.start(BIDI, [b""], timeout=timeout)
            replies = []
            while (reply := await running.receive()) is not None:
                replies.append(reply)
            assert (await running.outcome()).code == gyr.StatusCode.DEADLINE_EXCEEDED
            if len(replies) == 3:
                break
        assert replies == [b"0", b"1", b"2"]
        await handler.cancelled.wait()


async def test_the_server_knows_how_much_time_is_left(pairing: Pairing) -> None:
    seen: list[float | None] = []

    async def note(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        seen.append(ctx.time_remaining())
        async for request in requests:
            yield request

    async with pairing.connect(note) as client:
        for timeout in (20.0, 3600.0, 86_400.0 * 365, None):
            assert (await call(client, UNARY, [b""], timeout=timeout)).code == 0
    *remaining, none = seen
    for left, timeout in zip(remaining, (20.0, 3600.0, 86_400.0 * 365), strict=True):
        assert left is not None
        # A timeout is sent in whole units of at most eight digits; grpcio rounds up by 1 %.
        assert timeout * 0.5 < left <= timeout * 1.01
    assert none is None or none > 1e8


async def test_a_deadline_while_the_client_sends(pairing: Pairing) -> None:
    handler = Waiting()
    async with pairing.connect(handler) as client:
        for timeout in TIMEOUTS_S:
            running = client.start(CLIENT_STREAM, None, timeout=timeout)
            await running.send(b"")
            assert (await running.outcome()).code == gyr.StatusCode.DEADLINE_EXCEEDED
            if handler.started.is_set():
                break
        await handler.cancelled.wait()


@by_name
async def test_cancelling_ends_the_call_at_both_ends(pairing: Pairing, method: Method) -> None:
    handler = Waiting()
    async with pairing.connect(handler) as client:
        running = client.start(method, [b""])
        await handler.started.wait()
        running.cancel()
        assert (await running.outcome()).code == gyr.StatusCode.CANCELLED
        await handler.cancelled.wait()
        # The connection goes on.
        handler.replies, handler.cancelled = 0, asyncio.Event()
        again = client.start(UNARY, [b""])
        again.cancel()
        assert (await again.outcome()).code == gyr.StatusCode.CANCELLED


async def test_cancelling_in_the_middle_of_replies(pairing: Pairing) -> None:
    handler = Waiting(replies=3)
    async with pairing.connect(handler) as client:
        running = client.start(BIDI, None)
        await running.send(b"")
        for number in range(3):
            assert await running.receive() == b"%d" % number
        await handler.started.wait()
        running.cancel()
        assert (await running.outcome()).code == gyr.StatusCode.CANCELLED
        await handler.cancelled.wait()


async def test_cancelling_while_the_server_sends_without_end(pairing: Pairing) -> None:
    ended = asyncio.Event()

    async def endless(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            ended.set()

    async with pairing.connect(endless) as client:
        running = client.start(BIDI, [])
        for _ in range(200):
            assert await running.receive() == b"x" * 10_000
        running.cancel()
        await running.outcome()
        await ended.wait()
        # What was on its way gave its window back: 20 streams like it pass on the same connection.
        for _ in range(20):
            again = client.start(BIDI, [])
            for _ in range(20):
                assert await again.receive() == b"x" * 10_000
            again.cancel()
            await again.outcome()


async def test_a_handler_that_cancels_itself_ends_the_call(pairing: Pairing) -> None:
    async def give_up(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        await ctx.fail(int(gyr.StatusCode.CANCELLED), "given up")
        yield b""

    async with pairing.connect(give_up) as client:
        outcome = await call(client, SERVER_STREAM, [b""])
        assert (outcome.code, outcome.message) == (gyr.StatusCode.CANCELLED, "given up")
