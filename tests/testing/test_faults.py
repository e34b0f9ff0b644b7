"""Faults that a test injects, and what callers and handlers see of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.policy import RoundRobin
from gyrfalcon.testing import Clock, serve
from tests.call.service import UNARY, Calls, Stub, message, timer_set

pytestmark = pytest.mark.anyio

HTTP2_ENHANCE_YOUR_CALM = 11


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Waiting:
    """A handler that waits until it is released."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


# ---------------------------------------------------------------------- latency


async def test_a_delay_holds_the_bytes_of_each_direction() -> None:
    clock, handled = Clock(), asyncio.Event()

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        handled.set()
        return request

    served = serve(Calls(unary=note), clock=clock)
    async with served as channel:
        await channel.wait_ready()
        served.faults.delay(2)
        call = Stub(channel).unary(message(b"x"))
        await timer_set(clock, 2)
        clock.advance(1.99)
        await settle()
        assert not handled.is_set()
        clock.advance(0.01)
        await handled.wait()
        await settle()
        assert not call.done()
        await timer_set(clock, 2)
        clock.advance(2)
        assert (await call).value == b"x"


async def test_nothing_overtakes_when_a_delay_ends() -> None:
    clock, order = Clock(), list[bytes]()

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        order.append(request.value)
        return request

    served = serve(Calls(unary=note), clock=clock)
    async with served as channel:
        await channel.wait_ready()
        served.faults.delay(5)
        slow = Stub(channel).unary(message(b"slow"))
        await settle()
        served.faults.delay(0)
        fast = Stub(channel).unary(message(b"fast"))
        await settle()
        assert order == []
        clock.advance(5)
        await asyncio.gather(slow, fast)
    assert order == [b"slow", b"fast"]


async def test_a_deadline_shorter_than_the_way() -> None:
    clock = Clock()
    served = serve(Calls(unary=echo), clock=clock)
    async with served as channel:
        await channel.wait_ready()
        served.faults.delay(3)
        call = Stub(channel).unary(message(), timeout=1)
        await settle()
        clock.advance(1)
        with pytest.raises(gyr.DeadlineExceeded):
            await call


async def test_a_delay_by_the_systems_clock() -> None:
    served = serve(Calls(unary=echo))
    async with served as channel:
        served.faults.delay(0.001)
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"


# ---------------------------------------------------------------------- connections


async def test_a_reset_breaks_the_calls_that_run_and_new_ones_connect_anew() -> None:
    handler = Waiting()
    served = serve(Calls(unary=handler.unary, server_stream=stream))
    async with served as channel:
        call = Stub(channel).unary(message())
        await handler.started.wait()
        assert served.faults.reset() == 1
        with pytest.raises(gyr.Unavailable, match="lost"):
            await call
        await handler.cancelled.wait()
        assert served.faults.connections == 0
        handler.release.set()
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"
        assert served.faults.connections == 1


async def stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    yield message(b"first")
    await asyncio.Event().wait()


async def test_a_reset_in_a_stream_keeps_what_came_before() -> None:
    served = serve(Calls(server_stream=stream))
    async with served as channel:
        call = Stub(channel).server_stream(message())
        assert await call.receive() == message(b"first")
        served.faults.reset()
        with pytest.raises(gyr.Unavailable):
            await call.receive()


async def test_without_connections_there_is_nothing_to_break() -> None:
    served = serve(Calls(unary=echo))
    async with served:
        assert (served.faults.reset(), served.faults.go_away()) == (0, 0)


async def test_refused_connections_are_unavailable_until_they_are_taken() -> None:
    clock = Clock()
    served = serve(Calls(unary=echo), clock=clock)
    async with served as channel:
        served.faults.refuse_connections()
        waiting = Stub(channel).unary(message(b"x"), wait_for_ready=True)
        with pytest.raises(
            gyr.Unavailable, match=r"connect to 192\.0\.2\.1:50051 failed: Connection refused"
        ):
            await Stub(channel).unary(message())
        served.faults.clear()
        clock.advance(1)
        assert (await waiting).value == b"x"


async def test_refusing_connections_leaves_those_that_are_there() -> None:
    served = serve(Calls(unary=echo))
    async with served as channel:
        await Stub(channel).unary(message())
        served.faults.refuse_connections()
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"
        with pytest.raises(gyr.Unavailable):
            await Stub(served.channel()).unary(message())


async def test_a_silent_peer_is_noticed_by_nobody_but_the_deadline() -> None:
    clock = Clock()
    served = serve(Calls(unary=echo), clock=clock)
    async with served as channel:
        await Stub(channel).unary(message())
        served.faults.silence()
        call = Stub(channel).unary(message(), timeout=60)
        await settle()
        clock.advance(59)
        await settle()
        assert not call.done()
        assert channel.state.name == "READY"
        assert served.faults.connections == 1
        clock.advance(1)
        with pytest.raises(gyr.DeadlineExceeded):
            await call


async def test_what_was_said_in_silence_arrives_after_it() -> None:
    served = serve(Calls(unary=echo))
    async with served as channel:
        await channel.wait_ready()
        served.faults.silence()
        call = Stub(channel).unary(message(b"x"))
        await settle()
        assert not call.done()
        served.faults.clear()
        assert (await call).value == b"x"


async def test_what_is_said_in_silence_is_bounded() -> None:
    sent = 0
    served = serve(Calls(client_stream=echo))
    async with served as channel:
        await channel.wait_ready()
        served.faults.silence()
        async with Stub(channel).client_stream() as call:

            async def send() -> None:
                nonlocal sent
                while True:
                    await call.send(message(b"x" * 10_000))
                    sent += 10_000

            sending = asyncio.create_task(send())
            before = -1
            while sent != before:
                before = sent
                await settle()
            assert 0 < sent < 2**20
            sending.cancel()
            await asyncio.wait([sending])


# ---------------------------------------------------------------------- HTTP/2


async def test_a_graceful_goaway_costs_no_call() -> None:
    handler = Waiting()
    served = serve(Calls(unary=handler.unary))
    async with served as channel:
        old = Stub(channel).unary(message(b"old"))
        await handler.started.wait()
        assert served.faults.go_away() == 1
        await settle()
        new = Stub(channel).unary(message(b"new"))
        await settle()
        assert served.faults.connections == 2
        handler.release.set()
        assert [(await call).value for call in (old, new)] == [b"old", b"new"]


async def test_calls_made_while_the_goaway_is_on_its_way_go_out_again() -> None:
    served = serve(Calls(unary=echo))
    async with served as channel:
        await Stub(channel).unary(message())
        for number in range(20):
            served.faults.go_away()
            calls = [Stub(channel).unary(message(b"%d" % number)) for _ in range(3)]
            assert [(await call).value for call in calls] == [b"%d" % number] * 3


async def test_a_goaway_with_a_reason_lets_the_calls_that_run_end() -> None:
    handler = Waiting()
    served = serve(Calls(unary=handler.unary))
    async with served as channel:
        old = Stub(channel).unary(message(b"old"))
        await handler.started.wait()
        assert served.faults.go_away(HTTP2_ENHANCE_YOUR_CALM, b"too_many_pings") == 1
        await settle()
        handler.release.set()
        assert (await old).value == b"old"
        assert (await Stub(channel).unary(message(b"new"))).value == b"new"


async def test_a_refused_stream_goes_out_again_once() -> None:
    handled = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        handled.append(request.value)
        return request

    served = serve(Calls(unary=note))
    async with served as channel:
        served.faults.refuse_streams(1)
        assert (await Stub(channel).unary(message(b"again"))).value == b"again"
        served.faults.refuse_streams(2)
        with pytest.raises(gyr.Unavailable):
            await Stub(channel).unary(message(b"twice"))
        assert (await Stub(channel).unary(message(b"on"))).value == b"on"
    assert handled == [b"again", b"on"]


async def test_streams_are_refused_until_they_are_taken() -> None:
    served = serve(Calls(unary=echo))
    async with served as channel:
        served.faults.refuse_streams()
        for _ in range(3):
            with pytest.raises(gyr.Unavailable):
                await Stub(channel).unary(message())
        served.faults.clear()
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"


async def test_the_limit_of_streams_holds_while_streams_may_be_refused() -> None:
    running = most = 0

    async def count(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return request

    served = serve(Calls(unary=count), server_options={"max_concurrent_streams": 4})
    async with served as channel:
        served.faults.refuse_streams(1)
        calls = [Stub(channel).unary(message(b"%d" % number)) for number in range(50)]
        assert [(await call).value for call in calls] == [b"%d" % number for number in range(50)]
    assert most <= 4


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("delay", (-1.0,)), ("refuse_streams", (-1,)), ("go_away", (2**32,)), ("go_away", (-1,))],
)
async def test_what_is_no_fault_is_refused(method: str, arguments: tuple[float]) -> None:
    served = serve(Calls(unary=echo))
    with pytest.raises(ValueError, match=str(arguments[0])):
        getattr(served.faults, method)(*arguments)


# ---------------------------------------------------------------------- threads


def test_faults_from_a_thread() -> None:
    clock = Clock()
    served = serve(Calls(unary=echo), clock=clock)
    with served as channel:
        unary = gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
        assert unary(message(b"x")).value == b"x"
        assert served.faults.connections == 1
        served.faults.silence()
        future = unary.future(message(b"later"))
        served.faults.clear()
        assert future.result().value == b"later"
        assert served.faults.reset() == 1
        # Until the channel has read of the reset, its calls are lost with the connection.
        while served.faults.connections == 0:
            with contextlib.suppress(gyr.Unavailable):
                unary(message())
        assert served.faults.go_away() == 1
        assert unary(message(b"x"), wait_for_ready=True).value == b"x"
        served.faults.refuse_streams(1)
        assert unary(message(b"x"), wait_for_ready=True).value == b"x"


async def test_a_connection_that_ends_does_not_fail_the_one_that_follows_it() -> None:
    clock, handler = Clock(), Waiting()
    # RoundRobin keeps its subchannels when their connections go, and connects at once.
    options = {"balancer": RoundRobin}
    served = serve(Calls(unary=handler.unary), clock=clock, channel_options=options)
    async with served as channel:
        old = Stub(channel).unary(message(b"old"))
        await handler.started.wait()
        served.faults.delay(1)
        served.faults.go_away(HTTP2_ENHANCE_YOUR_CALM)
        await settle()
        # The new connection's handshake takes longer than the rest of the old one's life.
        served.faults.delay(5)
        clock.advance(1)
        await settle()
        assert (served.faults.connections, channel.state.name) == (2, "CONNECTING")
        served.faults.delay(1)
        handler.release.set()
        await settle()
        clock.advance(1)
        assert (await old).value == b"old"
        clock.advance(1)
        await settle()
        assert (served.faults.connections, channel.state.name) == (1, "CONNECTING")
        new = Stub(channel).unary(message(b"new"))
        for _ in range(5):
            clock.advance(1)
            await settle()
        assert (await new).value == b"new"
