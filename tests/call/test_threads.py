"""Handlers written with `def`: they run in worker threads, by the same rules."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, serve
from tests.call.service import Calls, Stub, collect, message, serving

pytestmark = pytest.mark.anyio

# A thread that a test has to wait for, and that never comes, fails the test after so long.
THREAD_S = 20.0


def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    assert threading.current_thread() is not threading.main_thread()
    return message(b"reply to " + request.value)


def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    for number in range(int(request.value)):
        yield message(b"%d" % number)


def client_stream(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return message(b",".join(request.value for request in requests))


def bidi(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    for request in requests:
        yield message(b"re " + request.value)


async def test_all_four_patterns() -> None:
    async with serving(
        unary=unary, server_stream=server_stream, client_stream=client_stream, bidi=bidi
    ) as stub:
        assert (await stub.unary(message(b"a request"))).value == b"reply to a request"
        numbers = [b"%d" % number for number in range(1000)]
        assert await collect(stub.server_stream(message(b"1000"))) == numbers
        assert (await stub.client_stream(map(message, numbers))).value == b",".join(numbers)
        answers = [b"re %d" % number for number in range(1000)]
        assert await collect(stub.bidi(map(message, numbers))) == answers


async def test_no_thread_is_started_before_a_def_handler_is_called() -> None:
    async def asynchronous(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    def workers() -> set[threading.Thread]:
        return {one for one in threading.enumerate() if one.name.startswith("gyrfalcon")}

    before = workers()
    async with serving(unary=asynchronous, bidi=bidi) as stub:
        await stub.unary(message())
        assert workers() <= before
        await collect(stub.bidi([]))
        assert len(workers() - before) == 1


async def test_lockstep_with_a_def_handler() -> None:
    async with serving(bidi=bidi) as stub, stub.bidi() as call:
        for number in range(50):
            await call.send(message(b"%d" % number))
            assert await call.receive() == message(b"re %d" % number)
        await call.done_sending()
        assert await call.receive() is None


async def test_lists_and_other_iterables_are_streams_too() -> None:
    def listed(request: BytesValue, ctx: gyr.ServerContext) -> list[BytesValue]:
        return [message(b"a"), message(b"b")]

    def lazy(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        return (message(request.value * 2) for request in requests)

    async with serving(server_stream=listed, bidi=lazy) as stub:
        assert await collect(stub.server_stream(message())) == [b"a", b"b"]
        assert await collect(stub.bidi([message(b"x"), message(b"y")])) == [b"xx", b"yy"]


async def test_a_bound_method_and_a_callable_object_are_handlers() -> None:
    class Shop:
        def find(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return message(b"found")

        def __call__(self, request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
            yield message(b"called")

    async with serving(unary=Shop().find, server_stream=Shop()) as stub:
        assert (await stub.unary(message())).value == b"found"
        assert await collect(stub.server_stream(message())) == [b"called"]


async def test_both_kinds_stand_in_one_service() -> None:
    class Mixed(Calls):
        async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return message(b"%d" % (threading.current_thread() is threading.main_thread()))

        def client_stream(
            self, requests: Iterator[BytesValue], ctx: gyr.ServerContext
        ) -> BytesValue:
            return message(b"%d" % (threading.current_thread() is threading.main_thread()))

    async with serve(Mixed()) as channel:
        stub = Stub(channel)
        assert (await stub.unary(message())).value == b"1"
        assert (await stub.client_stream([])).value == b"0"


async def test_metadata_both_ways_and_the_rest_of_the_context() -> None:
    def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.compression = "gzip"
        ctx.send_initial_metadata({"initial": ctx.metadata["tenant"]})
        with pytest.raises(RuntimeError, match="once"):
            ctx.send_initial_metadata({"again": "x"})
        ctx.trailing_metadata.add("trailing", ctx.metadata["tenant"])
        assert ctx.method == "/tests.Calls/Unary"
        assert ctx.peer.startswith("ipv4:192.0.2.254:")
        assert ctx.deadline is not None
        assert 0 < (ctx.time_remaining() or 0) <= 50.01
        assert not ctx.cancelled
        return request

    async with serving(unary=note) as stub:
        call = stub.unary(message(b"x" * 1000), metadata={"tenant": "eu"}, timeout=50)
        assert (await call).value == b"x" * 1000
        assert (await call.initial_metadata()).items() == [("initial", "eu")]
        assert (await call.trailing_metadata()).items() == [("trailing", "eu")]


async def test_initial_metadata_arrives_while_the_handler_goes_on() -> None:
    release = threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.send_initial_metadata({"a": "1"})
        assert release.wait(THREAD_S)
        return request

    async with serving(unary=wait) as stub:
        call = stub.unary(message())
        assert (await call.initial_metadata()).items() == [("a", "1")]
        assert not call.done()
        release.set()
        await call


async def test_replies_arrive_while_the_handler_goes_on() -> None:
    release = threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield message(b"first")
        assert release.wait(THREAD_S)
        yield message(b"second")

    async with serving(server_stream=wait) as stub:
        call = stub.server_stream(message())
        assert await call.receive() == message(b"first")
        release.set()
        assert await collect(call) == [b"second"]


async def test_a_handler_sees_that_its_call_was_cancelled() -> None:
    loop = asyncio.get_running_loop()
    started = asyncio.Event()
    seen: asyncio.Queue[bool] = asyncio.Queue()
    cancelled = threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        loop.call_soon_threadsafe(started.set)
        assert cancelled.wait(THREAD_S)
        loop.call_soon_threadsafe(seen.put_nowait, ctx.cancelled)
        return request

    def untouched(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield request

    async with serving(unary=wait, server_stream=untouched) as stub:
        call = stub.unary(message())
        await started.wait()
        call.cancel()
        with pytest.raises(gyr.Cancelled):
            await call
        # On the same connection after the reset, so the server has read that too.
        await collect(stub.server_stream(message()))
        cancelled.set()
        assert await seen.get() is True


async def test_requests_end_with_an_error_when_the_client_goes() -> None:
    loop = asyncio.get_running_loop()
    started = asyncio.Event()
    seen: asyncio.Queue[BaseException] = asyncio.Queue()

    def read(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        try:
            for _ in requests:
                loop.call_soon_threadsafe(started.set)
        except BaseException as error:
            loop.call_soon_threadsafe(seen.put_nowait, error)
            raise
        return message()

    clock = Clock()
    async with serving(clock=clock, client_stream=read) as stub:
        call = stub.client_stream()
        await call.send(message())
        await started.wait()
        call.cancel()
        assert type(await seen.get()) is gyr.Cancelled
        started.clear()
        late = stub.client_stream(timeout=5)
        await late.send(message())
        await started.wait()
        clock.advance(5)
        assert (await late.status()).code == gyr.StatusCode.DEADLINE_EXCEEDED
        assert type(await seen.get()) in (gyr.DeadlineExceeded, gyr.Cancelled)


async def test_a_generator_is_closed_when_nobody_wants_more() -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def endless(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        try:
            while True:
                yield message(b"x" * 10_000)
        finally:
            loop.call_soon_threadsafe(closed.set)

    async with serving(server_stream=endless, bidi=endless) as stub:
        for call in (stub.server_stream(message()), stub.bidi()):
            closed.clear()
            for _ in range(100):
                assert await call.receive() is not None
            call.cancel()
            await closed.wait()


async def test_a_generator_that_fails_when_it_is_closed_disturbs_nobody() -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def endless(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        try:
            while True:
                yield message(b"x" * 10_000)
        finally:
            loop.call_soon_threadsafe(closed.set)
            raise LookupError("in finally")

    async with serving(unary=unary, server_stream=endless) as stub:
        call = stub.server_stream(message())
        await call.receive()
        call.cancel()
        await closed.wait()
        assert (await stub.unary(message(b"x"))).value == b"reply to x"


async def test_a_deadline_ends_the_call_and_the_thread_goes_on_until_it_returns() -> None:
    loop = asyncio.get_running_loop()
    started = asyncio.Event()
    release = threading.Event()
    threads = []

    def slow(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(started.set)
        assert release.wait(THREAD_S)
        return request

    clock = Clock()
    async with serving(clock=clock, unary=slow) as stub:
        call = stub.unary(message(), timeout=5)
        await started.wait()
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await call
        release.set()
    assert not any(thread.is_alive() for thread in threads)


async def test_calls_wait_for_a_free_thread_and_a_cancelled_one_never_runs() -> None:
    loop = asyncio.get_running_loop()
    ran: list[bytes] = []
    started = asyncio.Event()
    release = threading.Event()

    def slow(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ran.append(request.value)
        loop.call_soon_threadsafe(started.set)
        assert release.wait(THREAD_S)
        return request

    async def asynchronous(requests: object, ctx: gyr.ServerContext) -> BytesValue:
        return message(b"async")

    async with serving({"max_workers": 1}, unary=slow, client_stream=asynchronous) as stub:
        first = stub.unary(message(b"first"))
        await started.wait()
        second = stub.unary(message(b"second"))
        third = stub.unary(message(b"third"))
        # The loop is free while the only thread is busy; now the server has the other calls too.
        assert (await stub.client_stream([])).value == b"async"
        second.cancel()
        assert (await stub.client_stream([])).value == b"async"
        release.set()
        assert (await first).value == b"first"
        assert (await third).value == b"third"
    assert ran == [b"first", b"third"]


async def test_a_def_handler_may_hand_on_what_a_coroutine_function_returns() -> None:
    async def answer(request: BytesValue) -> BytesValue:
        await asyncio.sleep(0)
        return message(b"awaited " + request.value)

    def hand_on(request: BytesValue, ctx: gyr.ServerContext) -> object:
        return answer(request)

    async with serving(unary=hand_on) as stub:
        assert (await stub.unary(message(b"x"))).value == b"awaited x"


async def test_a_server_that_stops_waits_for_its_threads() -> None:
    loop = asyncio.get_running_loop()
    started = asyncio.Event()
    release = threading.Event()

    def slow(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        loop.call_soon_threadsafe(started.set)
        assert release.wait(THREAD_S)
        return request

    async with serving(unary=slow) as stub:
        call = stub.unary(message(b"x"))
        await started.wait()
        stopping = asyncio.create_task(stub.served.server.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        release.set()
        assert (await call).value == b"x"
        await stopping
