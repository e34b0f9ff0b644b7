"""Handlers are coroutines like any other: tasks, timeouts, groups and cancellation in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import collect, message, serving

pytestmark = pytest.mark.anyio


async def test_every_handler_that_waits_has_a_task_of_its_own() -> None:
    tasks: list[asyncio.Task[object] | None] = []
    arrived = asyncio.Event()
    release = asyncio.Event()

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        before = asyncio.current_task()
        assert before is not None
        tasks.append(before)
        if len(tasks) == 30:
            arrived.set()
        await release.wait()
        assert asyncio.current_task() is before
        return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(30)]
        await arrived.wait()
        assert len(set(tasks)) == 30
        release.set()
        assert [(await call).value for call in calls] == [b"%d" % n for n in range(30)]


async def test_handlers_that_wait_and_handlers_that_do_not_in_one_batch() -> None:
    release = asyncio.Event()
    order: list[int] = []

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        number = int(request.value)
        order.append(number)
        if number % 3 == 0:
            await release.wait()
        elif number % 3 == 1:
            await asyncio.sleep(0)
        if number % 5 == 0:
            raise gyr.NotFound(str(number))
        return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(60)]
        done = [call for number, call in enumerate(calls) if number % 3]
        for call in done:
            await call.status()
        assert order == list(range(60))
        assert [call.done() for call in calls] == [number % 3 != 0 for number in range(60)]
        release.set()
        statuses = [await call.status() for call in calls]
        assert [status.message for status in statuses] == [
            "" if number % 5 else str(number) for number in range(60)
        ]


async def test_a_timeout_in_a_handler_ends_what_it_waits_for_and_no_more() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        try:
            async with asyncio.timeout(0.02):
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(20)]
        assert [(await call).value for call in calls] == [b"%d" % n for n in range(20)]


async def wait_too_long() -> None:
    async with asyncio.timeout(-1):
        await asyncio.Event().wait()


async def test_a_timeout_that_has_passed_already() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        with pytest.raises(TimeoutError):
            await wait_too_long()
        async with asyncio.timeout(-1):  # noqa: ASYNC100 (nothing waits inside: nothing is cut short)
            return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(20)]
        assert [(await call).value for call in calls] == [b"%d" % n for n in range(20)]


async def test_a_task_group_in_a_handler() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(number)) for number in range(5)]
        return message(b"%d" % sum(task.result() for task in tasks))

    async def failing(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        async def fail() -> None:
            raise LookupError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        except* LookupError:
            yield message(b"caught")

    async with serving(unary=handler, server_stream=failing) as stub:
        assert (await stub.unary(message())).value == b"20"
        assert await collect(stub.server_stream(message())) == [b"caught"]


async def test_cancelling_a_call_cancels_the_tasks_of_its_handlers_group() -> None:
    started = asyncio.Event()
    ended: asyncio.Queue[int] = asyncio.Queue()

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(number)

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(wait(number))
            await asyncio.sleep(0)
            started.set()
        return request

    async with serving(unary=handler) as stub:
        call = stub.unary(message())
        await started.wait()
        call.cancel()
        assert {await ended.get() for _ in range(3)} == {0, 1, 2}


async def test_a_handler_that_cancels_its_own_task_takes_no_other_along() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if request.value == b"cancel":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return request
        await asyncio.sleep(0)
        return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"cancel" if n % 2 else b"%d" % n)) for n in range(20)]
        statuses = [await call.status() for call in calls]
        assert [status.code for status in statuses[::2]] == [gyr.StatusCode.OK] * 10


async def test_cancelling_the_task_of_a_handler_from_outside_ends_its_call_alone() -> None:
    tasks: dict[bytes, asyncio.Task[object]] = {}
    arrived = asyncio.Event()
    release = asyncio.Event()

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        task = asyncio.current_task()
        assert task is not None
        tasks[request.value] = task
        if len(tasks) == 3:
            arrived.set()
        await release.wait()
        return request

    async with serving(unary=handler) as stub:
        calls = {name: stub.unary(message(name)) for name in (b"a", b"b", b"c")}
        await arrived.wait()
        tasks[b"b"].cancel()
        assert (await calls[b"b"].status()).code == gyr.StatusCode.CANCELLED
        release.set()
        assert (await calls[b"a"]).value == b"a"
        assert (await calls[b"c"]).value == b"c"


async def test_an_await_that_is_shielded_in_a_handler_goes_on() -> None:
    started = asyncio.Event()
    release = asyncio.Event()
    finished = asyncio.Event()

    async def work() -> None:
        started.set()
        await release.wait()
        finished.set()

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await asyncio.shield(asyncio.create_task(work()))
        return request

    async with serving(unary=handler) as stub:
        call = stub.unary(message())
        await started.wait()
        call.cancel()
        release.set()
        await finished.wait()


async def test_handlers_may_wait_for_each_other() -> None:
    meeting = asyncio.Barrier(20)

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await meeting.wait()
        return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(20)]
        assert [(await call).value for call in calls] == [b"%d" % n for n in range(20)]


async def test_a_handler_may_await_futures_and_tasks_and_other_awaitables() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        loop.call_soon(future.set_result, b"future ")
        task = asyncio.create_task(asyncio.sleep(0, b"task "))
        thread = loop.run_in_executor(None, bytes, b"thread ")
        gathered = await asyncio.gather(future, task, thread)
        return message(b"".join(gathered))

    async with serving(unary=handler) as stub:
        assert (await stub.unary(message())).value == b"future task thread "


async def test_anyio_in_a_handler() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        with anyio.move_on_after(0.02) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.02):
                await anyio.sleep_forever()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
            await anyio.lowlevel.checkpoint()
            group.start_soon(anyio.sleep_forever)
            group.cancel_scope.cancel()
        await anyio.to_thread.run_sync(bytes)
        return request

    async with serving(unary=handler) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(5)]
        assert [(await call).value for call in calls] == [b"%d" % n for n in range(5)]


async def test_cancelling_a_call_in_a_cancel_scope_of_anyio() -> None:
    started = asyncio.Event()
    ended = asyncio.Event()

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            started.set()
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()
        return request

    async with serving(unary=handler) as stub:
        call = stub.unary(message())
        await started.wait()
        call.cancel()
        await ended.wait()


async def test_debug_mode_of_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await asyncio.sleep(0)
        return request

    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    try:
        async with serving(unary=handler) as stub:
            calls = [stub.unary(message(b"%d" % number)) for number in range(5)]
            assert [(await call).value for call in calls] == [b"%d" % n for n in range(5)]
    finally:
        loop.set_debug(False)


async def test_the_task_of_a_handler_can_be_shown() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.get_stack()
        assert task in asyncio.all_tasks()
        return message(repr(task).encode())

    async with serving(unary=handler) as stub:
        assert b"Task" in (await stub.unary(message())).value
