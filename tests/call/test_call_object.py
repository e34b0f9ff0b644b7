"""What a method of a stub returns: metadata, status, callbacks, and the ends of a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock
from tests.call.service import UNARY, collect, message, serving, timer_set

pytestmark = pytest.mark.anyio


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def echo_all(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def with_metadata(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    await ctx.send_initial_metadata({"where": "initial"})
    ctx.trailing_metadata.add("where", "trailing")
    return request


async def missing(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    raise gyr.NotFound("no order", trailing_metadata={"where": "error"})


async def wait_for_ever(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    await asyncio.Event().wait()
    return request


async def test_everything_of_a_good_call_in_any_order() -> None:
    async with serving(unary=with_metadata) as stub:
        call = stub.unary(message(b"x"))
        assert not call.done()
        assert (await call.trailing_metadata()).items() == [("where", "trailing")]
        assert (await call.status()) == gyr.Status(gyr.StatusCode.OK)
        assert (await call.initial_metadata()).items() == [("where", "initial")]
        assert (await call).value == b"x"
        assert (call.done(), call.cancelled()) == (True, False)
        assert call.method == "/tests.Calls/Unary"
        assert call.peer == f"ipv4:{stub.served.target}"


async def test_everything_of_a_call_that_failed() -> None:
    async with serving(unary=missing) as stub:
        call = stub.unary(message())
        status = await call.status()
        assert (status.code, status.message) == (gyr.StatusCode.NOT_FOUND, "no order")
        assert (await call.trailing_metadata()).items() == [("where", "error")]
        assert (await call.initial_metadata()).items() == []
        for _ in range(2):
            with pytest.raises(gyr.NotFound):
                await call
        assert (call.done(), call.cancelled()) == (True, False)


async def test_initial_metadata_comes_while_the_call_runs() -> None:
    release = asyncio.Event()

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await ctx.send_initial_metadata([("a", "1"), ("a", "2")])
        await release.wait()
        return request

    async with serving(unary=handler) as stub:
        call = stub.unary(message())
        assert (await call.initial_metadata()).get_all("a") == ["1", "2"]
        assert not call.done()
        release.set()
        await call


async def test_initial_metadata_of_a_call_that_had_none() -> None:
    async with serving(unary=echo) as stub:
        call = stub.unary(message())
        assert (await call.initial_metadata()).items() == []
        await call


async def test_initial_metadata_of_a_call_that_never_got_a_head_is_its_error() -> None:
    clock = Clock()
    async with serving(clock=clock, unary=wait_for_ever) as stub:
        call = stub.unary(message(), timeout=5)
        await timer_set(clock, 5)
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await call.initial_metadata()


async def test_several_tasks_may_wait_for_the_same_call() -> None:
    async with serving(unary=with_metadata) as stub:
        call = stub.unary(message(b"x"))
        reply, status, first, again = await asyncio.gather(
            call, call.status(), call.initial_metadata(), call.initial_metadata()
        )
        assert reply.value == b"x"
        assert status.ok
        assert first == again


async def test_a_reply_is_awaited_once() -> None:
    async with serving(unary=echo) as stub:
        call = stub.unary(message())
        await call
        with pytest.raises(RuntimeError, match="once"):
            await call


async def test_done_callbacks_are_called_by_the_loop_once() -> None:
    seen: asyncio.Queue[gyr.Call] = asyncio.Queue()
    async with serving(unary=echo) as stub:
        call = stub.unary(message())
        call.add_done_callback(seen.put_nowait)
        call.add_done_callback(seen.put_nowait)
        assert await seen.get() is call
        assert await seen.get() is call
        assert call.done()
        call.add_done_callback(seen.put_nowait)
        assert seen.empty()
        assert await seen.get() is call


async def test_a_call_with_a_callback_lives_though_nobody_holds_it() -> None:
    seen: asyncio.Queue[gyr.Call] = asyncio.Queue()
    async with serving(unary=echo) as stub:
        stub.unary(message(b"x")).add_done_callback(seen.put_nowait)
        call = await seen.get()
        assert (await call.status()).ok


async def test_done_callbacks_are_called_for_calls_that_are_cancelled() -> None:
    seen: asyncio.Queue[gyr.Call] = asyncio.Queue()
    async with serving(unary=wait_for_ever) as stub:
        call = stub.unary(message())
        call.add_done_callback(seen.put_nowait)
        call.cancel()
        assert await seen.get() is call


async def test_done_callbacks_are_called_for_calls_that_never_got_a_connection() -> None:
    seen: asyncio.Queue[gyr.Call] = asyncio.Queue()
    async with gyr.Channel("unix:/nowhere/at/all.sock") as channel:
        call = gyr.UnaryUnary[BytesValue, BytesValue](channel, UNARY)(message())
        call.add_done_callback(seen.put_nowait)
        assert (await (await seen.get()).status()).code == gyr.StatusCode.UNAVAILABLE


async def test_a_callback_that_raises_is_the_loops_affair_and_the_others_are_called() -> None:
    seen: asyncio.Queue[gyr.Call] = asyncio.Queue()
    reported: list[dict[str, Any]] = []

    def broken(call: gyr.Call) -> None:
        raise ZeroDivisionError("in a callback")

    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: reported.append(context))
    try:
        async with serving(unary=echo) as stub:
            call = stub.unary(message())
            call.add_done_callback(broken)
            call.add_done_callback(seen.put_nowait)
            await seen.get()
            await call
    finally:
        loop.set_exception_handler(handler)
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError]


async def test_deadlines_are_known() -> None:
    async with serving(unary=echo) as stub:
        call = stub.unary(message(), timeout=50)
        assert call.deadline is not None
        assert time.monotonic() < call.deadline <= time.monotonic() + 50
        assert 0 < (call.time_remaining() or 0) <= 50
        await call
        without = stub.unary(message())
        assert (without.deadline, without.time_remaining()) == (None, None)
        await without


async def test_leaving_the_block_cancels_a_call_that_runs() -> None:
    ended = asyncio.Event()
    started = asyncio.Event()

    async def hang(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        started.set()
        try:
            async for request in requests:
                yield request
        finally:
            ended.set()

    async with serving(bidi=hang) as stub:
        async with stub.bidi() as call:
            await started.wait()
        assert call.cancelled()
        await ended.wait()


async def test_leaving_the_block_of_a_finished_call_changes_nothing() -> None:
    async with serving(bidi=echo_all) as stub:
        async with stub.bidi([message(b"x")]) as call:
            assert await collect(call) == [b"x"]
        assert (await call.status()).ok


async def test_nothing_can_be_sent_after_the_half_close() -> None:
    async with serving(bidi=echo_all) as stub, stub.bidi() as call:
        await call.done_sending()
        await call.done_sending()
        with pytest.raises(RuntimeError, match="done_sending"):
            await call.send(message())


async def test_sending_to_a_call_that_failed_raises_its_error() -> None:
    async def refuse(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        raise gyr.PermissionDenied("not you")
        yield message()

    async with serving(bidi=refuse) as stub, stub.bidi() as call:
        await call.status()
        with pytest.raises(gyr.PermissionDenied, match="not you"):
            await call.send(message())


async def test_the_repr_says_which_call_and_how_it_is() -> None:
    async with serving(unary=missing) as stub:
        call = stub.unary(message())
        assert repr(call) == "<UnaryUnaryCall /tests.Calls/Unary running>"
        await call.status()
        assert repr(call) == "<UnaryUnaryCall /tests.Calls/Unary NOT_FOUND 'no order'>"
        assert "/tests.Calls/Unary" in repr(stub.unary)
