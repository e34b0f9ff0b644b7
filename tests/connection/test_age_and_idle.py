"""Row "age and idle": max age (±10 % jitter, debug data `max_age`) with grace, max idle; off by
default. On a channel: closed after 30 minutes without a call."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from hyperframe.frame import GoAwayFrame, HeadersFrame

import gyrfalcon as gyr
from tests.call.service import UNARY, message, serving
from tests.connection.peer import (
    LAST_POSSIBLE,
    NO_ERROR,
    Hanging,
    client,
    echo,
    server,
    settle,
)

pytestmark = pytest.mark.anyio

HOUR = 3600.0


# ---------------------------------------------------------------------- age


async def test_connections_grow_as_old_as_they_like_by_default() -> None:
    async with server({"keepalive": None}) as serving:
        peer = await serving.connect()
        await serving.advance(10_000 * HOUR)
        assert peer.frames == []


async def test_an_old_connection_ends_in_two_steps_that_say_why() -> None:
    handler = Hanging()
    async with server({"max_connection_age": 100}, unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        await serving.advance(110)
        first = await peer.next(GoAwayFrame)
        assert (first.last_stream_id, first.error_code, first.additional_data) == (
            LAST_POSSIBLE,
            NO_ERROR,
            b"max_age",
        )
        second = await peer.next(GoAwayFrame)
        assert (second.last_stream_id, second.error_code, second.additional_data) == (
            1,
            NO_ERROR,
            b"max_age",
        )
        # Without a grace its calls take what they take.
        await serving.advance(HOUR)
        handler.go_on.set()
        await peer.next(HeadersFrame)
        await peer.closed.wait()
        assert serving.limits() == {"max_connection_age": 1}


async def test_between_the_two_steps_calls_are_taken_on() -> None:
    async with server({"max_connection_age": 100}, unary=echo) as serving:
        peer = await serving.connect()
        peer.answers_pings = False
        await serving.advance(110)
        await peer.next(GoAwayFrame)
        peer.request(1)
        await peer.next(HeadersFrame)
        # The answer to the PING is not waited for longer than 10 seconds.
        await serving.advance(10)
        assert (await peer.next(GoAwayFrame)).last_stream_id == 1
        await peer.closed.wait()


async def test_ages_differ_by_a_tenth() -> None:
    async with server({"max_connection_age": 1000}) as serving:
        peers = [await serving.connect() for _ in range(300)]
        await serving.advance(899)
        assert sum(peer.closed.is_set() for peer in peers) == 0
        await serving.advance(101)
        middle = sum(peer.closed.is_set() for peer in peers)
        await serving.advance(101)
        assert sum(peer.closed.is_set() for peer in peers) == 300
        # A coin thrown 300 times: off by that much once in 10**12.
        assert abs(middle - 150) < 65


async def test_calls_that_outlive_the_grace_end() -> None:
    handler = Hanging()
    options = {"max_connection_age": 100, "max_connection_age_grace": 5}
    async with server(options, unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        await serving.advance(110)
        await serving.advance(4.9)
        assert not handler.cancelled.is_set()
        await serving.advance(0.1)
        await handler.cancelled.wait()
        head = await peer.next_head()
        assert ("grpc-status", "14") in head
        await peer.closed.wait()
        assert serving.limits() == {"max_connection_age": 1, "max_connection_age_grace": 1}


async def test_a_client_that_takes_nothing_is_dropped_after_the_grace() -> None:
    handler = Hanging()
    options = {"max_connection_age": 100, "max_connection_age_grace": 5}
    async with server(options, unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        peer.transport.pause_reading()
        await serving.advance(110)
        await serving.advance(5)
        await handler.cancelled.wait()
        await serving.advance(10)
        assert serving.server.stats().connections == ()


@pytest.mark.parametrize("face", ["asyncio", "blocking"])
async def test_no_call_fails_in_a_hundred_ages(face: str) -> None:
    clock = gyr.ManualClock()
    ended, failed, lost = 0, 0, 0
    ages = 100

    async def slow(request: Any, ctx: gyr.ServerContext) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        return request

    async with serving({"max_connection_age": 1.0}, None, clock, unary=slow) as stub:
        over = False
        blocking = stub.served.blocking_channel()
        method = gyr.blocking.UnaryUnary[Any, Any](blocking, UNARY)

        async def one_after_another() -> None:
            nonlocal ended, failed
            while not over:
                try:
                    if face == "asyncio":
                        await stub.unary(message())
                    else:
                        await asyncio.to_thread(method, message())
                    ended += 1
                except gyr.RpcError:
                    failed += 1

        workers = [asyncio.create_task(one_after_another()) for _ in range(5)]
        before = ended
        while lost < ages:
            lost = stub.served.server.stats().limits.get("max_connection_age", 0)
            while ended < before + 10:  # noqa: ASYNC110
                await asyncio.sleep(0)
            before = ended
            clock.advance(0.55)
        over = True
        await asyncio.gather(*workers)
    assert failed == 0
    assert ended >= 10 * ages


# ---------------------------------------------------------------------- idle, server


async def test_a_connection_without_calls_ends() -> None:
    async with server({"max_connection_idle": 60}, unary=echo) as serving:
        peer = await serving.connect()
        await serving.advance(30)
        peer.request(1)
        await serving.advance(30)
        await serving.advance(29.9)
        assert peer.seen(GoAwayFrame) == []
        await serving.advance(0.1)
        goaway = await peer.next(GoAwayFrame)
        assert (goaway.error_code, goaway.additional_data) == (NO_ERROR, b"max_idle")
        await peer.closed.wait()
        assert serving.limits() == {"max_connection_idle": 1}


async def test_a_connection_with_a_call_is_not_idle() -> None:
    handler = Hanging()
    async with server({"max_connection_idle": 60}, unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        for _ in range(100):
            await serving.advance(59)
        assert peer.seen(GoAwayFrame) == []
        handler.go_on.set()
        await serving.advance(59.9)
        assert peer.seen(GoAwayFrame) == []
        await serving.advance(0.1)
        assert (await peer.next(GoAwayFrame)).additional_data == b"max_idle"


async def test_pings_do_not_keep_a_connection_from_being_idle() -> None:
    async with server({"max_connection_idle": 60, "min_ping_interval": 0}) as serving:
        peer = await serving.connect()
        for _ in range(3):
            await serving.advance(20)
            peer.ping()
        await serving.advance(0)
        assert (await peer.next(GoAwayFrame)).additional_data == b"max_idle"


# ---------------------------------------------------------------------- idle, channel


async def test_a_channel_rests_after_thirty_minutes_without_a_call() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        await calling.advance(1799)
        peer.respond(1)
        await call
        await calling.advance(1799)
        assert calling.channel.state.name == "READY"
        await calling.advance(1)
        assert calling.channel.state.name == "IDLE"
        await peer.next(GoAwayFrame)
        await peer.closed.wait()
        assert calling.limits() == {"idle_timeout": 1}
        call = calling.stub.unary(message())
        peer = await calling.accept()
        peer.respond(1)
        await call


async def test_a_channel_with_a_call_does_not_rest() -> None:
    async with client(idle_timeout=10) as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        for _ in range(20):
            await calling.advance(9)
        assert not peer.closed.is_set()
        peer.respond(1)
        await call


async def test_a_channel_may_be_told_never_to_rest() -> None:
    async with client(idle_timeout=None) as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        peer.respond(1)
        await call
        await calling.advance(1_000_000)
        assert calling.channel.state.name == "READY"


async def test_a_channel_that_was_forgotten_does_not_live_on_for_its_timer() -> None:
    channel = gyr.Channel("192.0.2.9:1", network=gyr.MemoryNetwork(clock=gyr.ManualClock()))
    reference = weakref.ref(channel)
    await channel.close()
    del channel
    await settle()
    gc.collect()
    assert reference() is None
