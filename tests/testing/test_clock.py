"""The clock that stands still: timers, and everything in channels and servers that takes time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, MemoryNetwork, serve
from tests.call.service import UNARY, Calls, Stub, collect_failing, message, timer_set

pytestmark = pytest.mark.anyio


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# ---------------------------------------------------------------------- the clock alone


async def test_timers_are_called_in_the_order_in_which_they_are_due() -> None:
    clock, called = Clock(), list[str]()
    loop = asyncio.get_running_loop()
    for name, delay in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("a too", 1.0), ("d", 4.0)):
        clock.call_later(loop, delay, called.append, name)
    clock.advance(0.5)
    await settle()
    assert called == []
    clock.advance(2.5)
    assert called == []
    await settle()
    assert called == ["a", "a too", "b", "c"]
    assert clock.next_timer == clock.time() + 1
    clock.advance(1)
    await settle()
    assert called[-1] == "d"
    assert clock.next_timer is None


async def test_what_is_due_already_is_called_when_the_loop_turns() -> None:
    clock, called = Clock(), list[str]()
    loop = asyncio.get_running_loop()
    clock.call_later(loop, 0, called.append, "now")
    clock.call_at(loop, clock.time() - 5, called.append, "past")
    assert called == []
    await settle()
    assert called == ["now", "past"]


async def test_a_cancelled_timer_is_not_called_even_when_its_time_has_come() -> None:
    clock, called = Clock(), list[str]()
    loop = asyncio.get_running_loop()
    timers = [clock.call_later(loop, 1, called.append, name) for name in ("early", "late", "kept")]
    timers[0].cancel()
    clock.advance(1)
    timers[1].cancel()
    await settle()
    assert called == ["kept"]


@pytest.mark.parametrize("steps", [1, 3, 7, 10, 1000])
async def test_steps_add_up_to_what_they_are_in_decimal(steps: int) -> None:
    clock, called = Clock(), list[str]()
    clock.call_later(asyncio.get_running_loop(), 0.1 * steps, called.append, "due")
    for _ in range(steps):
        assert called == []
        clock.advance(0.1)
        await asyncio.sleep(0)
    assert called == ["due"]
    assert clock.time() == round(1000 + 0.1 * steps, 9)


async def test_sleepers_wake_at_their_time() -> None:
    clock, woken = Clock(start=5), list[float]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (2, 1, 3)]
    await timer_set(clock, 1)
    clock.advance(2)
    await settle()
    assert woken == [1, 2]
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert clock.next_timer is None


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_what_is_no_time_to_pass_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Clock().advance(seconds)
    with pytest.raises(ValueError, match="start"):
        Clock(start=seconds)


async def test_it_is_moved_from_another_thread() -> None:
    clock, called = Clock(), asyncio.Event()
    clock.call_later(asyncio.get_running_loop(), 60, called.set)
    await asyncio.to_thread(clock.advance, 60)
    await called.wait()


def test_the_timers_of_a_closed_loop_are_forgotten() -> None:
    clock = Clock()
    loop = asyncio.new_event_loop()
    clock.call_later(loop, 1, pytest.fail)
    loop.close()
    clock.advance(1)
    assert clock.next_timer is None


async def test_the_systems_clock_is_the_loops_and_moves_by_itself() -> None:
    clock, called = gyr.Clock(), asyncio.Event()
    before = clock.time()
    clock.call_later(asyncio.get_running_loop(), 0.001, called.set)
    await called.wait()
    await clock.sleep(0)
    assert clock.time() > before


# ---------------------------------------------------------------------- channels and servers


class Waiting:
    """Handlers that wait until they are cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def server_stream(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        yield await self.unary(request, ctx)


@pytest.mark.parametrize("steps", [1, 3, 10])
async def test_a_deadline_passes_at_both_ends_at_once(steps: int) -> None:
    clock, handler = Clock(), Waiting()
    async with serve(Calls(unary=handler.unary), clock=clock) as channel:
        call = Stub(channel).unary(message(), timeout=steps / 10)
        await handler.started.wait()
        for _ in range(steps):
            await settle()
            assert not call.done()
            clock.advance(0.1)
        with pytest.raises(gyr.DeadlineExceeded):
            await call
        await handler.cancelled.wait()


async def test_the_servers_deadline_does_not_need_the_clients_word() -> None:
    clock, handler = Clock(), Waiting()
    served = serve(Calls(unary=handler.unary), clock=clock)
    async with served as channel:
        call = Stub(channel).unary(message(), timeout=5)
        await handler.started.wait()
        served.faults.silence()
        clock.advance(5)
        await handler.cancelled.wait()
        assert await call.status() == gyr.Status(
            gyr.StatusCode.DEADLINE_EXCEEDED, "the deadline of the call passed"
        )


async def test_the_time_that_remains_is_exact() -> None:
    clock, seen = Clock(), list[tuple[float | None, float | None]]()

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append((ctx.deadline, ctx.time_remaining()))
        clock.advance(1.5)
        seen.append((ctx.deadline, ctx.time_remaining()))
        return request

    async with serve(Calls(unary=note), clock=clock) as channel:
        call = Stub(channel).unary(message(), timeout=5)
        assert (call.deadline, call.time_remaining()) == (1005.0, 5.0)
        await call
        assert call.time_remaining() == 3.5
    assert seen == [(1005.0, 5.0), (1005.0, 3.5)]


async def test_streams_have_deadlines_too() -> None:
    clock, handler = Clock(), Waiting()
    async with serve(Calls(server_stream=handler.server_stream), clock=clock) as channel:
        call = Stub(channel).server_stream(message(), timeout=60)
        failing = asyncio.create_task(collect_failing(call))
        await handler.started.wait()
        clock.advance(60)
        replies, error = await failing
        assert (replies, type(error)) == ([], gyr.DeadlineExceeded)


async def test_a_call_waits_for_a_connection_no_longer_than_its_deadline() -> None:
    clock = Clock()
    served = serve(Calls(), clock=clock)
    async with served as channel:
        served.faults.silence()
        call = Stub(channel).unary(message(), timeout=3, wait_for_ready=True)
        await timer_set(clock, 3)
        clock.advance(3)
        with pytest.raises(gyr.DeadlineExceeded, match="waited: CONNECTING"):
            await call


async def test_an_attempt_to_connect_ends_with_its_timeout() -> None:
    clock = Clock()
    served = serve(Calls(), clock=clock, channel_options={"connect_timeout": 7})
    async with served as channel:
        served.faults.silence()
        call = Stub(channel).unary(message())
        await timer_set(clock, 7)
        clock.advance(7)
        with pytest.raises(gyr.Unavailable, match=r"192\.0\.2\.1:50051 took longer than 7 seconds"):
            await call


async def test_backoff_follows_the_clock() -> None:
    clock = Clock()
    network = MemoryNetwork(clock=clock)
    async with gyr.Channel("192.0.2.1:50051", network=network) as channel:
        waiting = Stub(channel).unary(message(b"x"), wait_for_ready=True)
        delay, pauses = 1.0, list[float]()
        for _ in range(4):
            with pytest.raises(gyr.Unavailable, match="refused"):
                await Stub(channel).unary(message())
            assert clock.next_timer is not None
            pause = clock.next_timer - clock.time()
            pauses.append(pause / delay)
            delay *= 1.6
            clock.advance(pause)
            # The attempt begins when the loop turns, and fails.
            while channel.state.name != "TRANSIENT_FAILURE" or clock.next_timer is None:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert pauses[0] == 1.0
        assert [0.8 <= pause <= 1.2 for pause in pauses[1:]] == [True] * 3

        async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return request

        async with serve(Calls(unary=echo), network=network):
            clock.advance(delay * 1.2)
            assert (await waiting).value == b"x"


async def test_a_graceful_stop_waits_by_the_clock() -> None:
    clock, handler = Clock(), Waiting()
    served = serve(Calls(unary=handler.unary), clock=clock)
    async with served as channel:
        call = Stub(channel).unary(message())
        await handler.started.wait()
        stopping = asyncio.create_task(served.server.stop(grace=600))
        await settle()
        clock.advance(599)
        await settle()
        assert not stopping.done()
        clock.advance(1)
        await stopping
        assert (await call.status()).code == gyr.StatusCode.CANCELLED


async def test_a_clock_for_real_sockets() -> None:
    clock, handler = Clock(), Waiting()
    network = gyr.Network(clock=clock)
    async with gyr.Server([Calls(unary=handler.unary)], network=network) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}", network=network) as channel:
            call = Stub(channel).unary(message(), timeout=3600)
            await handler.started.wait()
            clock.advance(3600)
            with pytest.raises(gyr.DeadlineExceeded):
                await call
            await handler.cancelled.wait()


def test_the_deadlines_of_threads() -> None:
    clock, started, cancelled = Clock(), threading.Event(), threading.Event()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return request

    with serve(Calls(unary=hang), clock=clock) as channel:
        call = gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
        future = call.future(message(), timeout=3600)
        assert started.wait(30)
        clock.advance(3600)
        with pytest.raises(gyr.DeadlineExceeded):
            future.result()
        assert cancelled.wait(30)


def test_a_thread_that_waits_is_woken_by_the_clock() -> None:
    clock, started, errors = Clock(), threading.Event(), list[type]()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        await asyncio.Event().wait()
        return request

    with serve(Calls(unary=hang), clock=clock) as channel:

        def call() -> None:
            try:
                gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)(
                    message(), timeout=3600
                )
            except gyr.RpcError as error:
                errors.append(type(error))

        thread = threading.Thread(target=call)
        thread.start()
        assert started.wait(30)
        clock.advance(3600)
        thread.join()
    assert errors == [gyr.DeadlineExceeded]
