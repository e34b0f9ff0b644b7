"""Row "keepalive, server": PING after 2 h without reads, 20 s timeout; an interval under 5 min (2 h
without calls) is a strike, the third is GOAWAY(ENHANCE_YOUR_CALM, `too_many_pings`); strikes reset
when the server sends HEADERS or DATA."""

from __future__ import annotations

from typing import Any

import pytest
from hyperframe.frame import GoAwayFrame
from hyperframe.frame import PingFrame as Ping

import gyrfalcon as gyr
from tests.connection.peer import ENHANCE_YOUR_CALM, Hanging, echo, server

pytestmark = pytest.mark.anyio

HOUR = 3600.0


# ---------------------------------------------------------------------- the server asks


async def test_a_client_is_asked_after_two_hours_without_a_byte() -> None:
    async with server() as serving:
        peer = await serving.connect()
        await serving.advance(2 * HOUR - 1)
        assert peer.seen(Ping) == []
        await serving.advance(1)
        assert len(peer.seen(Ping)) == 1
        await serving.advance(2 * HOUR)
        assert len(peer.seen(Ping)) == 2
        assert not peer.closed.is_set()


async def test_a_client_that_does_not_answer_in_twenty_seconds_is_dropped() -> None:
    async with server() as serving:
        peer = await serving.connect()
        peer.answers_pings = False
        await serving.advance(2 * HOUR)
        await serving.advance(19.9)
        assert not peer.closed.is_set()
        await serving.advance(0.1)
        await peer.closed.wait()
        assert serving.limits() == {"keepalive": 1}


async def test_the_two_hours_run_from_the_last_read() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        await serving.advance(HOUR)
        peer.request(1)
        await serving.advance(HOUR)
        await serving.advance(HOUR - 1)
        assert peer.seen(Ping) == []
        await serving.advance(1)
        assert len(peer.seen(Ping)) == 1


async def test_interval_and_timeout_can_be_set() -> None:
    async with server({"keepalive": gyr.Keepalive(30, timeout=3)}) as serving:
        peer = await serving.connect()
        peer.answers_pings = False
        await serving.advance(30)
        assert len(peer.seen(Ping)) == 1
        await serving.advance(3)
        await peer.closed.wait()


async def test_it_can_be_switched_off() -> None:
    async with server({"keepalive": None}) as serving:
        peer = await serving.connect()
        await serving.advance(100 * HOUR)
        assert peer.seen(Ping) == []


async def test_a_call_that_was_under_way_is_cancelled() -> None:
    handler = Hanging()
    async with server({"keepalive": 60}, unary=handler) as serving:
        peer = await serving.connect()
        peer.answers_pings = False
        peer.request(1)
        await handler.started.wait()
        await serving.advance(60)
        await serving.advance(20)
        await handler.cancelled.wait()


@pytest.mark.parametrize("keepalive", [0.5, 0, gyr.Keepalive(0.9)])
def test_less_than_a_second_is_refused(keepalive: Any) -> None:
    with pytest.raises(ValueError, match="keepalive="):
        gyr.Server([], keepalive=keepalive)


# ---------------------------------------------------------------------- the server is asked


async def test_the_third_strike_ends_the_connection() -> None:
    handler = Hanging()
    async with server(unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        for _ in range(3):
            # The first is free: there was none before it to be too soon after.
            peer.ping()
            await serving.advance(299)
        assert peer.seen(GoAwayFrame) == []
        peer.ping()
        goaway = await peer.next(GoAwayFrame)
        assert (goaway.error_code, goaway.additional_data) == (
            ENHANCE_YOUR_CALM,
            b"too_many_pings",
        )
        await peer.closed.wait()
        await handler.cancelled.wait()
        assert serving.limits() == {"min_ping_interval": 1}


async def test_five_minutes_apart_with_a_call_is_no_strike() -> None:
    handler = Hanging()
    async with server(unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        for _ in range(20):
            await serving.advance(300)
            await peer.round_trip()
        assert peer.seen(GoAwayFrame) == []


async def test_without_calls_it_is_two_hours() -> None:
    async with server() as serving:
        peer = await serving.connect()
        for _ in range(5):
            await serving.advance(2 * HOUR)
            await peer.round_trip()
        for _ in range(2):
            await serving.advance(2 * HOUR - 1)
            await peer.round_trip()
        peer.ping()
        assert (await peer.next(GoAwayFrame)).additional_data == b"too_many_pings"


async def test_what_the_server_sends_resets_the_strikes() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        for stream_id in range(1, 41, 2):
            peer.request(stream_id)
            await serving.advance(0)
            for _ in range(3):
                # One that may ask how long the answer took, and two strikes.
                await peer.round_trip()
        assert peer.seen(GoAwayFrame) == []
        peer.ping()
        assert (await peer.next(GoAwayFrame)).error_code == ENHANCE_YOUR_CALM


async def test_many_pings_in_one_read_are_as_many() -> None:
    async with server() as serving:
        peer = await serving.connect()
        peer.send(*[Ping(opaque_data=bytes(8)) for _ in range(4)])
        assert (await peer.next(GoAwayFrame)).additional_data == b"too_many_pings"


async def test_clients_may_be_permitted_to_ask_without_calls() -> None:
    options = {"min_ping_interval": 10, "permit_pings_without_calls": True}
    async with server(options) as serving:
        peer = await serving.connect()
        for _ in range(10):
            await serving.advance(10)
            await peer.round_trip()
        for _ in range(2):
            await serving.advance(9)
            await peer.round_trip()
        await serving.advance(9)
        peer.ping()
        assert (await peer.next(GoAwayFrame)).additional_data == b"too_many_pings"


async def test_any_number_may_be_permitted() -> None:
    async with server({"min_ping_interval": 0}) as serving:
        peer = await serving.connect()
        for _ in range(50):
            await peer.round_trip()
        assert peer.seen(GoAwayFrame) == []


async def test_answers_to_the_servers_own_pings_are_no_strikes() -> None:
    async with server({"keepalive": 1}) as serving:
        peer = await serving.connect()
        for _ in range(10):
            await serving.advance(1)
        assert len(peer.seen(Ping)) == 10
        assert peer.seen(GoAwayFrame) == []
