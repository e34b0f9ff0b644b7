"""Several loops in several threads, and channels that are used where they do not belong."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uvloop
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub, collect, message, serving

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
each_loop = pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def echo_all(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


def run(new_loop: NewLoop, main: Any) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


@each_loop
def test_a_server_and_a_channel_in_each_of_several_threads(new_loop: NewLoop) -> None:
    meeting = threading.Barrier(4)

    async def talk(number: int) -> list[bytes]:
        async with serving(unary=echo, bidi=echo_all) as stub:
            meeting.wait(20)
            calls = [stub.unary(message(b"%d %d" % (number, n))) for n in range(200)]
            streamed = await collect(stub.bidi([message(b"%d" % n) for n in range(200)]))
            assert streamed == [b"%d" % n for n in range(200)]
            return [(await call).value for call in calls]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: run(new_loop, talk(number)), range(4)))
    assert found == [[b"%d %d" % (number, n) for n in range(200)] for number in range(4)]


@each_loop
def test_channels_of_several_threads_to_one_server(new_loop: NewLoop) -> None:
    async def talk(target: str, number: int) -> list[bytes]:
        async with gyr.Channel(target) as channel:
            calls = [Stub(channel).unary(message(b"%d %d" % (number, n))) for n in range(100)]
            return [(await call).value for call in calls]

    async def serve() -> Any:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(3) as threads:
            async with gyr.Server([Calls(unary=echo)]) as server:
                target = f"127.0.0.1:{await server.listen('127.0.0.1:0')}"
                tasks = [
                    loop.run_in_executor(threads, run, new_loop, talk(target, number))
                    for number in range(3)
                ]
                return await asyncio.gather(*tasks)

    found = run(new_loop, serve())
    assert found == [[b"%d %d" % (number, n) for n in range(100)] for number in range(3)]


@each_loop
def test_one_loop_after_another_in_the_same_thread(new_loop: NewLoop) -> None:
    async def talk() -> bytes:
        async with serving(unary=echo) as stub:
            return (await stub.unary(message(b"x"))).value

    for _ in range(3):
        assert run(new_loop, talk()) == b"x"


def test_a_channel_without_a_loop_says_what_to_use_instead() -> None:
    channel = gyr.Channel("127.0.0.1:1")
    stub = Stub(channel)
    with pytest.raises(RuntimeError, match="without a running event loop"):
        stub.unary(message())
    assert "127.0.0.1:1" in repr(channel)


@each_loop
def test_a_channel_of_another_loop_is_refused(new_loop: NewLoop) -> None:
    channel = gyr.Channel("127.0.0.1:1")

    async def use() -> None:
        with pytest.raises(gyr.Unavailable):
            await Stub(channel).unary(message())

    async def misuse() -> None:
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            Stub(channel).unary(message())

    async def both() -> None:
        await use()
        await asyncio.to_thread(run, new_loop, misuse())
        await channel.close()

    run(new_loop, both())
    run(new_loop, misuse())


@each_loop
def test_a_server_of_another_loop_is_refused(new_loop: NewLoop) -> None:
    async def listen(server: gyr.Server) -> None:
        await server.listen("127.0.0.1:0")

    async def both() -> None:
        async with gyr.Server([Calls()]) as server:
            await listen(server)
            with pytest.raises(RuntimeError, match="another event loop"):
                await asyncio.to_thread(run, new_loop, listen(server))

    run(new_loop, both())


@each_loop
def test_a_call_that_another_thread_drops_is_cancelled_in_its_own(new_loop: NewLoop) -> None:
    async def main() -> None:
        started = asyncio.Event()
        ended = asyncio.Event()

        async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return request

        async with serving(unary=hang) as stub:
            holder = [stub.unary(message())]
            await started.wait()

            def drop() -> None:
                holder.clear()
                gc.collect()

            await asyncio.to_thread(drop)
            await ended.wait()

    run(new_loop, main())


@each_loop
def test_a_channel_and_a_server_that_were_never_used_need_no_loop(new_loop: NewLoop) -> None:
    server = gyr.Server([Calls(unary=echo)])
    channel = gyr.Channel("127.0.0.1:1")

    async def close() -> None:
        async with server, channel:
            pass

    run(new_loop, close())


@each_loop
def test_a_loop_that_ends_with_calls_open_reports_nothing(
    new_loop: NewLoop, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind: list[asyncio.Task[None]] = []

    async def main() -> None:
        started = asyncio.Event()

        async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            started.set()
            await asyncio.Event().wait()
            return request

        async def call(stub: Stub) -> None:
            await stub.unary(message())

        async def serve_for_ever() -> None:
            async with serving({"grace": 0.0}, unary=hang) as stub:
                await call(stub)

        left_behind.append(asyncio.create_task(serve_for_ever()))
        await started.wait()

    # Runner cancels the task that is left behind, and it closes what it has.
    run(new_loop, main())
    assert caplog.records == []
