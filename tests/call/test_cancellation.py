"""Calls that their callers give up, and handlers that are cancelled."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock
from tests.call.service import TIMEOUTS_S, Stub, message, serving

pytestmark = pytest.mark.anyio


class Waiting:
    """Handlers that wait until they are cancelled, and tell of it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.contexts: list[gyr.ServerContext] = []

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await self._wait(ctx)
        return request

    async def stream(self, request: object, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"first")
        yield message(b"second")
        await self._wait(ctx)

    async def _wait(self, ctx: gyr.ServerContext) -> None:
        self.contexts.append(ctx)
        assert not ctx.cancelled
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert ctx.cancelled
            self.ended.set()
            raise


async def test_cancel_raises_cancelled_here_and_in_the_handler() -> None:
    handlers = Waiting()
    async with serving(unary=handlers.unary) as stub:
        call = stub.unary(message())
        await handlers.started.wait()
        assert call.cancel() is True
        assert (call.done(), call.cancelled()) == (True, True)
        assert call.cancel() is False
        with pytest.raises(gyr.Cancelled):
            await call
        await handlers.ended.wait()


async def test_cancel_wakes_whoever_waits_with_cancelled_of_the_call() -> None:
    handlers = Waiting()
    async with serving(unary=handlers.unary) as stub:
        call = stub.unary(message())
        waiting = asyncio.ensure_future(call)
        status = asyncio.ensure_future(call.status())
        await handlers.started.wait()
        call.cancel()
        with pytest.raises(gyr.Cancelled):
            await waiting
        assert (await status).code == gyr.StatusCode.CANCELLED
        await handlers.ended.wait()


async def test_cancelling_the_task_cancels_the_call() -> None:
    handlers = Waiting()
    async with serving(unary=handlers.unary) as stub:
        call = stub.unary(message())
        task = asyncio.ensure_future(call)
        await handlers.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.cancelled()
        await handlers.ended.wait()


async def test_asyncio_timeout_cancels_the_call() -> None:
    handlers = Waiting()
    async with serving(unary=handlers.unary) as stub:
        for seconds in TIMEOUTS_S:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stub.unary(message())
            if handlers.started.is_set():
                break
        await handlers.ended.wait()


async def test_cancelling_who_waits_for_the_metadata_or_status_leaves_the_call() -> None:
    release = asyncio.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await release.wait()
        return request

    async with serving(unary=wait) as stub:
        call = stub.unary(message(b"x"))
        tasks = [
            asyncio.ensure_future(one)
            for one in (call.initial_metadata(), call.trailing_metadata(), call.status())
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not call.done()
        release.set()
        assert (await call).value == b"x"


async def test_a_call_that_nobody_holds_is_cancelled() -> None:
    handlers = Waiting()
    async with serving(unary=handlers.unary) as stub:
        call = stub.unary(message())
        await handlers.started.wait()
        del call
        gc.collect()
        await handlers.ended.wait()


async def test_breaking_out_of_a_stream_cancels_it() -> None:
    handlers = Waiting()
    async with serving(server_stream=handlers.stream) as stub:
        async for reply in stub.server_stream(message()):
            assert reply.value == b"first"
            await handlers.started.wait()
            break
        gc.collect()
        await handlers.ended.wait()


async def test_an_error_in_the_block_of_a_call_cancels_it() -> None:
    handlers = Waiting()
    calls: list[gyr.Call] = []

    async def fail(stub: Stub) -> None:
        async with stub.bidi() as call:
            calls.append(call)
            await handlers.started.wait()
            raise ZeroDivisionError

    async with serving(bidi=handlers.stream) as stub:
        with pytest.raises(ZeroDivisionError):
            await fail(stub)
        assert calls[0].cancelled()
        await handlers.ended.wait()


async def test_replies_that_came_before_the_cancel_are_dropped() -> None:
    handlers = Waiting()
    async with serving(server_stream=handlers.stream) as stub:
        call = stub.server_stream(message())
        await handlers.started.wait()
        assert await call.receive() == message(b"first")
        call.cancel()
        with pytest.raises(gyr.Cancelled):
            await call.receive()
        with pytest.raises(gyr.Cancelled):
            await anext(call)
        await handlers.ended.wait()


async def test_cancelling_before_the_connection_is_there() -> None:
    ran = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ran.append(request)
        return request

    async with serving(unary=note) as stub:
        call = stub.unary(message(b"never"))
        call.cancel()
        with pytest.raises(gyr.Cancelled):
            await call
        assert (await stub.unary(message(b"other"))).value == b"other"
    assert ran == [message(b"other")]


async def test_cancelling_a_call_that_waits_for_a_free_stream() -> None:
    handlers = Waiting()
    ran = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ran.append(request.value)
        if request.value == b"first":
            return await handlers.unary(request, ctx)
        return request

    async with serving({"max_concurrent_streams": 1}, unary=note) as stub:
        first = stub.unary(message(b"first"))
        await handlers.started.wait()
        second = stub.unary(message(b"second"))
        third = stub.unary(message(b"third"))
        second.cancel()
        with pytest.raises(gyr.Cancelled):
            await second
        first.cancel()
        assert (await third).value == b"third"
    assert ran == [b"first", b"third"]


async def test_a_deadline_cancels_the_handler_and_tells_the_caller() -> None:
    handlers = Waiting()
    clock = Clock()
    async with serving(clock=clock, unary=handlers.unary) as stub:
        call = stub.unary(message(), timeout=5)
        await handlers.started.wait()
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await call
        await handlers.ended.wait()
        (context,) = handlers.contexts
        assert context.time_remaining() == 0


@pytest.mark.parametrize("timeout", [0, 0.0, -1.0])
async def test_a_timeout_of_nothing_has_passed_before_the_server_hears_of_the_call(
    timeout: float,
) -> None:
    ran = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ran.append(request.value)
        return request

    async with serving(unary=note) as stub:
        for name in (b"before", b"after"):
            with pytest.raises(gyr.DeadlineExceeded):
                await stub.unary(message(b"expired"), timeout=timeout)
            await stub.unary(message(name))
    assert ran == [b"before", b"after"]


async def test_a_deadline_while_a_call_waits_for_a_free_stream() -> None:
    handlers = Waiting()
    clock = Clock()
    limit = {"max_concurrent_streams": 1}
    async with serving(limit, clock=clock, unary=handlers.unary) as stub:
        first = stub.unary(message())
        await handlers.started.wait()
        second = stub.unary(message(), timeout=5)
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await second
        first.cancel()
        await handlers.ended.wait()


async def test_a_handler_that_swallows_cancellation_does_not_hold_its_stream() -> None:
    release = asyncio.Event()
    swallowed = asyncio.Event()
    started = asyncio.Event()

    async def stubborn(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if request.value:
            return request
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                swallowed.set()
        return message(b"too late")

    clock = Clock()
    async with serving(clock=clock, unary=stubborn) as stub:
        late = stub.unary(message(), timeout=5)
        await started.wait()
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await late
        await swallowed.wait()
        swallowed.clear()
        started.clear()
        call = stub.unary(message())
        await started.wait()
        call.cancel()
        await swallowed.wait()
        assert (await stub.unary(message(b"neighbour"))).value == b"neighbour"
        release.set()


async def test_a_handler_may_clean_up_with_awaits_when_it_is_cancelled() -> None:
    steps: list[str] = []
    done = asyncio.Event()

    async def careful(request: object, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        try:
            yield message(b"first")
            await asyncio.Event().wait()
        finally:
            for step in ("one", "two"):
                await asyncio.sleep(0)
                steps.append(step)
            done.set()

    async with serving(server_stream=careful) as stub:
        call = stub.server_stream(message())
        await call.receive()
        call.cancel()
        await done.wait()
    assert steps == ["one", "two"]


async def test_a_generator_is_closed_when_the_caller_goes_while_it_is_not_running() -> None:
    closed = asyncio.Event()

    async def endless(request: object, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        try:
            while True:
                yield message(b"x" * 100_000)
        finally:
            closed.set()

    async with serving(server_stream=endless) as stub:
        call = stub.server_stream(message())
        await call.receive()
        call.cancel()
        await closed.wait()


async def test_the_request_stream_raises_when_the_client_goes() -> None:
    seen: asyncio.Queue[BaseException] = asyncio.Queue()
    started = asyncio.Event()
    cancelled = asyncio.Event()

    async def shielded(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        await anext(requests)
        started.set()
        try:
            await anext(requests)
        except asyncio.CancelledError:
            cancelled.set()
        try:
            await anext(requests)
        except gyr.RpcError as error:
            seen.put_nowait(error)
        return message()

    async with serving(client_stream=shielded) as stub:
        call = stub.client_stream()
        await call.send(message())
        await started.wait()
        call.cancel()
        assert type(await seen.get()) is gyr.Cancelled
        assert cancelled.is_set()


async def test_ten_thousand_cancelled_calls_leave_the_connection_good() -> None:
    async with serving(unary=Waiting().unary) as stub:
        for _ in range(100):
            calls = [stub.unary(message()) for _ in range(100)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        with pytest.raises(gyr.DeadlineExceeded):
            await stub.unary(message(), timeout=0.2)
