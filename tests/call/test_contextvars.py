"""Context variables: one copy for each call, of the context in which the server was started."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import collect, message, serving

pytestmark = pytest.mark.anyio

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


@pytest.fixture(autouse=True)
def named() -> Iterator[None]:
    token = NAME.set("the server's starter")
    yield
    NAME.reset(token)


def take_name(request: BytesValue) -> BytesValue:
    """Answers the name that was there, and leaves another."""
    before = NAME.get()
    NAME.set(request.value.decode())
    return message(before.encode())


async def test_a_call_sees_where_the_server_was_started_and_leaves_nothing() -> None:
    NAME.set("the server's starter")

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return take_name(request)

    async with serving(unary=handler) as stub:
        NAME.set("the caller")
        calls = [stub.unary(message(b"call %d" % number)) for number in range(20)]
        names = {(await call).value for call in calls}
        names.add((await stub.unary(message(b"another"))).value)
        assert NAME.get() == "the caller"
    assert names == {b"the server's starter"}


async def test_in_a_worker_thread_too() -> None:
    NAME.set("the server's starter")
    threads = set()

    def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        threads.add(threading.current_thread())
        return take_name(request)

    async with serving({"max_workers": 1}, unary=handler) as stub:
        names = {(await stub.unary(message(b"call %d" % n))).value for n in range(10)}
    assert names == {b"the server's starter"}
    assert threading.main_thread() not in threads


async def test_what_a_handler_sets_lasts_to_the_end_of_its_call() -> None:
    async def handler(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield take_name(request)
            await asyncio.sleep(0)
        ctx.trailing_metadata["name"] = NAME.get()

    async with serving(bidi=handler) as stub:
        one, other = stub.bidi(), stub.bidi()
        for call, name in ((one, b"one"), (other, b"other")):
            await call.send(message(name))
        await one.receive()
        await other.receive()
        for call in (one, other):
            await call.send(message(b"last"))
            await call.done_sending()
        assert await collect(one) == [b"one"]
        assert await collect(other) == [b"other"]
        assert (await one.trailing_metadata())["name"] == "last"


async def test_the_generator_of_a_def_handler_keeps_its_context_from_reply_to_reply() -> None:
    NAME.set("the server's starter")

    def handler(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for request in requests:
            yield take_name(request)

    async with serving(bidi=handler) as stub:
        names = await collect(stub.bidi([message(b"one"), message(b"two"), message(b"three")]))
    assert names == [b"the server's starter", b"one", b"two"]


async def test_tasks_of_a_handler_inherit_its_context_and_it_reads_what_they_do_not_change() -> (
    None
):
    async def child() -> str:
        name = NAME.get()
        NAME.set("the child")
        return name

    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        NAME.set("the handler")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child())
        assert NAME.get() == "the handler"
        in_thread = await asyncio.to_thread(NAME.get)
        return message(f"{task.result()}, {in_thread}".encode())

    async with serving(unary=handler) as stub:
        assert (await stub.unary(message())).value == b"the handler, the handler"


async def test_a_variable_can_be_reset_by_the_token_of_the_same_call() -> None:
    async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        before = NAME.get()
        token = NAME.set("for a while")
        await asyncio.sleep(0)
        NAME.reset(token)
        assert NAME.get() == before
        return request

    async def streamed(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        token = NAME.set("for a while")
        try:
            for _ in range(3):
                yield request
                await asyncio.sleep(0)
        finally:
            # Also when the generator is closed, not run to its end.
            NAME.reset(token)

    async with serving(unary=handler, server_stream=streamed) as stub:
        await stub.unary(message())
        assert len(await collect(stub.server_stream(message()))) == 3


async def test_a_generator_that_is_closed_early_is_closed_in_its_context() -> None:
    closed: asyncio.Queue[str] = asyncio.Queue()

    async def endless(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        token = NAME.set("the call")
        try:
            while True:
                yield message(b"x" * 100_000)
        finally:
            name = NAME.get()
            NAME.reset(token)
            closed.put_nowait(name)

    async with serving(server_stream=endless) as stub:
        call = stub.server_stream(message())
        await call.receive()
        call.cancel()
        assert await closed.get() == "the call"


async def test_a_def_generator_that_is_closed_early_is_closed_in_its_context() -> None:
    loop = asyncio.get_running_loop()
    closed: asyncio.Queue[str] = asyncio.Queue()

    def endless(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        token = NAME.set("the call")
        try:
            while True:
                yield message(b"x" * 100_000)
        finally:
            name = NAME.get()
            NAME.reset(token)
            loop.call_soon_threadsafe(closed.put_nowait, name)

    async with serving(server_stream=endless) as stub:
        call = stub.server_stream(message())
        await call.receive()
        call.cancel()
        assert await closed.get() == "the call"
