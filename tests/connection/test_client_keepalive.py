"""Row "keepalive, client": off by default, at least 10 s, timeout 20 s, from the last read; on
`too_many_pings` double the interval and log; TCP_USER_TIMEOUT set."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import sys
import threading
from typing import Any

import pytest
from hyperframe.frame import PingFrame as Ping

import gyrfalcon as gyr
from gyrfalcon.testing import serve
from tests.call.service import Calls, Stub, message
from tests.connection.peer import ENHANCE_YOUR_CALM, Calling, Peer, client, echo

pytestmark = pytest.mark.anyio


async def begin_call(calling: Calling) -> tuple[Any, Peer]:
    call = calling.stub.unary(message())
    peer = await calling.accept()
    return call, peer


async def test_it_is_off_by_default() -> None:
    async with client(idle_timeout=None) as calling:
        call, peer = await begin_call(calling)
        await calling.advance(100_000)
        assert peer.seen(Ping) == []
        peer.respond(1)
        await call


async def test_the_server_is_asked_after_the_interval_and_again() -> None:
    async with client(keepalive=10) as calling:
        _, peer = await begin_call(calling)
        peer.frames.clear()
        await calling.advance(9.9)
        assert peer.seen(Ping) == []
        for asked in range(1, 4):
            await calling.advance(10)
            assert len(peer.seen(Ping)) == asked


async def test_the_interval_runs_from_the_last_read() -> None:
    async with client(keepalive=10) as calling:
        _, peer = await begin_call(calling)
        await calling.advance(6)
        peer.ping()
        await calling.advance(6)
        assert peer.seen(Ping) == []
        await calling.advance(4)
        assert len(peer.seen(Ping)) == 1


async def test_without_an_answer_in_time_the_connection_is_dropped() -> None:
    async with client(keepalive=gyr.Keepalive(10, timeout=5)) as calling:
        call, peer = await begin_call(calling)
        peer.answers_pings = False
        await calling.advance(10)
        await peer.next(Ping)
        await calling.advance(4.9)
        assert not call.done()
        await calling.advance(0.1)
        with pytest.raises(gyr.Unavailable, match=r"no answer to a PING within 5 seconds"):
            await call
        await peer.closed.wait()
        assert calling.limits() == {"keepalive": 1}


async def test_twenty_seconds_are_the_time_for_an_answer() -> None:
    async with client(keepalive=10) as calling:
        call, peer = await begin_call(calling)
        peer.answers_pings = False
        await calling.advance(10)
        await calling.advance(19.9)
        assert not call.done()
        await calling.advance(0.1)
        with pytest.raises(gyr.Unavailable, match="within 20 seconds"):
            await call


async def test_any_byte_is_an_answer() -> None:
    async with client(keepalive=10) as calling:
        call, peer = await begin_call(calling)
        peer.answers_pings = False
        await calling.advance(10)
        await calling.advance(15)
        peer.settle_settings()
        await calling.advance(5)
        assert not call.done()
        peer.respond(1)
        await call


async def test_without_calls_the_server_is_not_asked_until_there_is_one() -> None:
    async with client(keepalive=10) as calling:
        call, peer = await begin_call(calling)
        peer.respond(1)
        await call
        await calling.advance(1000)
        assert peer.seen(Ping) == []
        # The connection may have been dead for long: it is asked at once.
        call = calling.stub.unary(message())
        await peer.next(Ping)
        peer.respond(3)
        await call


async def test_with_without_calls_it_is_asked_all_the_time() -> None:
    async with client(keepalive=gyr.Keepalive(10, without_calls=True)) as calling:
        call, peer = await begin_call(calling)
        peer.respond(1)
        await call
        await calling.advance(10)
        assert len(peer.seen(Ping)) == 1


async def test_too_many_pings_doubles_the_interval_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with client(keepalive=10) as calling:
        call, peer = await begin_call(calling)
        with caplog.at_level(logging.WARNING, logger="gyrfalcon"):
            peer.go_away(1, ENHANCE_YOUR_CALM, b"too_many_pings")
            peer.respond(1)
            await call
        assert [record.message.partition(": ")[2] for record in caplog.records] == [
            "the server says too_many_pings: from now on it is asked every 20 s (keepalive)"
        ]
        call, peer = await begin_call(calling)
        await calling.advance(10)
        await calling.advance(9.9)
        assert peer.seen(Ping) == []
        await calling.advance(0.1)
        assert len(peer.seen(Ping)) == 1


async def test_another_reason_to_calm_leaves_the_interval_alone() -> None:
    async with client(keepalive=10) as calling:
        call, peer = await begin_call(calling)
        peer.go_away(1, ENHANCE_YOUR_CALM, b"resets")
        peer.respond(1)
        await call
        _, peer = await begin_call(calling)
        await calling.advance(10)
        assert len(peer.seen(Ping)) == 1


async def test_pings_are_counted() -> None:
    async with client(keepalive=10) as calling:
        call, peer = await begin_call(calling)
        await calling.advance(10)
        await calling.advance(10)
        subchannel = gyr.stats.find_subchannel(calling.channel.stats().subchannels[0])
        assert subchannel is not None
        connection = gyr.stats.find_connection(subchannel.connections[0])
        assert connection is not None
        assert connection.keepalives_sent == 2
        peer.respond(1)
        await call


@pytest.mark.parametrize("keepalive", [9.9, gyr.Keepalive(5), 0, -1, float("nan")])
def test_less_than_ten_seconds_are_refused(keepalive: Any) -> None:
    with pytest.raises(ValueError, match=r"keepalive="):
        gyr.Channel("x:1", keepalive=keepalive)


def test_what_is_no_number_of_seconds_is_refused() -> None:
    with pytest.raises(TypeError, match="keepalive='soon'"):
        gyr.Channel("x:1", keepalive="soon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout=0"):
        gyr.Keepalive(10, timeout=0)


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
@pytest.mark.parametrize("face", ["asyncio", "blocking"])
async def test_tcp_has_the_same_patience(face: str) -> None:
    async with gyr.Server([Calls(unary=echo)]) as server:
        target = f"127.0.0.1:{await server.listen('127.0.0.1:0')}"
        keepalive = gyr.Keepalive(10, timeout=7)
        if face == "asyncio":
            async with gyr.Channel(target, keepalive=keepalive) as channel:
                await Stub(channel).unary(message())
                (client_side,) = sockets_to(target)
                assert user_timeout(client_side) == 7000
        else:
            with gyr.blocking.Channel(target, keepalive=keepalive) as channel:
                await asyncio.to_thread(channel.wait_ready, 10)
                (client_side,) = sockets_to(target)
                assert user_timeout(client_side) == 7000


def sockets_to(target: str) -> list[int]:
    """The descriptors of this process that are connected to that address."""
    host, _, port = target.rpartition(":")
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.getpeername() == (host, int(port)):
                    found.append(int(name))
        except OSError:
            continue
    return found


def user_timeout(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as one:
        return one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_a_blocking_channel_asks_while_nobody_waits() -> None:
    clock = gyr.ManualClock()
    served = serve(
        Calls(unary=echo),
        clock=clock,
        server_options={"permit_pings_without_calls": True, "min_ping_interval": 0},
        channel_options={
            "keepalive": gyr.Keepalive(10, 1e5, without_calls=True),
            "idle_timeout": None,
        },
    )
    with served as channel:
        channel.wait_ready(10)

        def asked() -> int:
            (subchannel,) = channel.stats().subchannels
            found = gyr.stats.find_subchannel(subchannel)
            assert found is not None
            (connection,) = found.connections
            figures = gyr.stats.find_connection(connection)
            assert figures is not None
            return figures.keepalives_sent

        # Nobody but the janitor is there for the timer, and to read the answer.
        while asked() < 3:
            clock.advance(1)
            threading.Event().wait(0.001)
