"""A call and its steps can be awaited in every way that asyncio has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import TIMEOUTS_S, Stub, message, serving

pytestmark = pytest.mark.anyio

Way = Callable[[Awaitable[Any]], Awaitable[Any]]


async def plainly(step: Awaitable[Any]) -> Any:
    return await step


async def with_wait_for(step: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(step, 20)


async def with_timeout(step: Awaitable[Any]) -> Any:
    async with asyncio.timeout(20):
        return await step


async def with_gather(step: Awaitable[Any]) -> Any:
    first, _ = await asyncio.gather(step, asyncio.sleep(0))
    return first


async def with_shield(step: Awaitable[Any]) -> Any:
    return await asyncio.shield(step)


async def with_ensure_future(step: Awaitable[Any]) -> Any:
    return await asyncio.ensure_future(step)


async def with_wait(step: Awaitable[Any]) -> Any:
    done, _ = await asyncio.wait([asyncio.ensure_future(step)])
    return done.pop().result()


async def with_as_completed(step: Awaitable[Any]) -> Any:
    for first in asyncio.as_completed([step]):
        return await first


async def with_a_task_group(step: Awaitable[Any]) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(plainly(step))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return task.result()


async def with_anyio(step: Awaitable[Any]) -> Any:
    with anyio.fail_after(20):
        return await step


WAYS: list[Way] = [
    plainly, with_wait_for, with_timeout, with_gather, with_shield, with_ensure_future, with_wait,
    with_as_completed, with_a_task_group, with_anyio,
]  # fmt: skip
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    await ctx.send_initial_metadata({"a": "1"})
    await asyncio.sleep(0)
    return request


async def echo_all(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


@each_way
async def test_a_call_and_what_it_tells(way: Way) -> None:
    async with serving(unary=echo) as stub:
        assert (await way(stub.unary(message(b"x")))).value == b"x"
        assert (await way(stub.unary(message()).initial_metadata())).items() == [("a", "1")]
        assert (await way(stub.unary(message()).trailing_metadata())).items() == []
        assert (await way(stub.unary(message()).status())).ok


@each_way
async def test_the_steps_of_a_stream(way: Way) -> None:
    async with serving(bidi=echo_all) as stub, stub.bidi() as call:
        for number in range(3):
            await way(call.send(message(b"%d" % number)))
            assert await way(call.receive()) == message(b"%d" % number)
        await way(call.done_sending())
        assert await way(call.receive()) is None


@each_way
async def test_an_error(way: Way) -> None:
    async with serving() as stub:
        with pytest.raises(gyr.Unimplemented):
            await way(stub.unary(message()))
        with pytest.raises(gyr.Unimplemented):
            await way(stub.server_stream(message()).receive())


@each_way
async def test_the_requests_of_a_handler(way: Way) -> None:
    async def join(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        await way(ctx.send_initial_metadata({"a": "1"}))
        first = await way(requests.__anext__())
        second = await way(requests.__anext__())
        with pytest.raises(StopAsyncIteration):
            await requests.__anext__()
        return message(first.value + second.value)

    async with serving(client_stream=join) as stub:
        call = stub.client_stream()
        await call.initial_metadata()
        await call.send(message(b"one "))
        await call.send(message(b"two"))
        assert (await call).value == b"one two"


async def test_a_wait_that_runs_out_cancels_the_call_that_it_waited_for() -> None:
    started = asyncio.Event()
    ended: asyncio.Queue[None] = asyncio.Queue()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(None)
        return request

    async with serving(unary=hang) as stub:
        for _ in range(3):
            started.clear()
            for timeout in TIMEOUTS_S:
                call = stub.unary(message())
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(call, timeout)
                assert call.cancelled()
                if started.is_set():
                    break
            await ended.get()


async def test_a_wait_that_runs_out_leaves_the_call_whose_status_was_awaited() -> None:
    release = asyncio.Event()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await release.wait()
        return request

    async with serving(unary=hang) as stub:
        call = stub.unary(message(b"x"))
        for step in (call.status, call.initial_metadata, call.trailing_metadata):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(step(), 0.02)
        assert not call.done()
        release.set()
        assert (await call).value == b"x"


async def test_a_shielded_call_goes_on_when_its_waiter_is_cancelled() -> None:
    release = asyncio.Event()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await release.wait()
        return request

    async with serving(unary=hang) as stub:
        call = stub.unary(message(b"x"))
        task = asyncio.ensure_future(call)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.02)
        release.set()
        assert (await task).value == b"x"


async def test_the_first_of_several_calls() -> None:
    release = asyncio.Event()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if request.value != b"2":
            await release.wait()
        return request

    async with serving(unary=hang) as stub:
        tasks = [asyncio.ensure_future(stub.unary(message(b"%d" % n))) for n in range(5)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().value for task in done] == [b"2"]
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)
        release.set()


async def test_a_step_is_awaited_once_and_a_new_one_may_be_asked_for() -> None:
    async with serving(unary=echo) as stub:
        call = stub.unary(message(b"x"))
        step = call.initial_metadata()
        assert await step == await call.initial_metadata()
        with pytest.raises(RuntimeError, match="already"):
            await step
        await call


async def test_calls_in_a_task_that_ends_while_the_connection_reads() -> None:
    """What a woken task does, it may do in the middle of what the connection read."""

    async def close_when_answered(stub: Stub) -> None:
        await stub.unary(message())
        await stub.channel.close()

    async with serving(unary=echo) as stub:
        others = [stub.unary(message(b"%d" % number)) for number in range(50)]
        await close_when_answered(stub)
        codes = {(await other.status()).code for other in others}
        assert codes <= {gyr.StatusCode.OK, gyr.StatusCode.CANCELLED}


async def test_a_woken_task_may_cancel_make_and_await_other_calls_at_once() -> None:
    async with serving(unary=echo, bidi=echo_all) as stub:
        seen: list[bytes] = []

        async def chain(number: int) -> None:
            reply = await stub.unary(message(b"%d" % number))
            seen.append(reply.value)
            stub.unary(message(b"never mind")).cancel()
            async with stub.bidi([reply]) as call:
                assert await call.receive() == reply
            assert (await stub.unary(reply)).value == reply.value

        await asyncio.gather(*(chain(number) for number in range(50)))
        assert sorted(seen) == sorted(b"%d" % number for number in range(50))
