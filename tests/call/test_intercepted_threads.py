"""`def` handlers that interceptors surround: they use the same threads, by the same rules."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import collect, collect_failing, message, serving

pytestmark = pytest.mark.anyio

# A thread that a test has to wait for, and that never comes, fails the test after so long.
THREAD_S = 20.0


class Noting(gyr.Interceptor):
    """Notes how calls end."""

    def __init__(self) -> None:
        self.codes: list[gyr.StatusCode] = []

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        self.codes.append(outcome.code)


class AsyncNoting(Noting):
    """The same, and awaits before and after the call."""

    async def intercept(  # type: ignore[override]
        self, call: gyr.InterceptedCall
    ) -> gyr.AsyncInterception:
        await asyncio.sleep(0)
        outcome = yield
        await asyncio.sleep(0)
        self.codes.append(outcome.code)


@pytest.fixture(params=[Noting, AsyncNoting])
def noting(request: pytest.FixtureRequest) -> Noting:
    kind: type[Noting] = request.param
    return kind()


class Gate:
    """A handler that waits to be let go, and notes the requests that reached it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.started = asyncio.Event()
        self.release = threading.Event()
        self.ran: list[bytes] = []

    def __call__(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.ran.append(request.value)
        self.loop.call_soon_threadsafe(self.started.set)
        assert self.release.wait(THREAD_S)
        return request


async def on_loop(requests: object, ctx: gyr.ServerContext) -> BytesValue:
    return message()


async def test_all_four_patterns(noting: Noting) -> None:
    def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        assert threading.current_thread() is not threading.main_thread()
        ctx.send_initial_metadata({"initial": "1"})
        return request

    def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for number in range(int(request.value)):
            yield message(b"%d" % number)

    def client_stream(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return message(b",".join(request.value for request in requests))

    def bidi(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield from requests

    numbers = [b"%d" % number for number in range(1000)]
    async with serving(
        {"interceptors": [noting]},
        unary=unary,
        server_stream=server_stream,
        client_stream=client_stream,
        bidi=bidi,
    ) as stub:
        assert (await stub.unary(message(b"a request"))).value == b"a request"
        assert await collect(stub.server_stream(message(b"1000"))) == numbers
        assert (await stub.client_stream(map(message, numbers))).value == b",".join(numbers)
        assert await collect(stub.bidi(map(message, numbers))) == numbers
    assert noting.codes == [gyr.StatusCode.OK] * 4


async def test_errors_of_the_thread_are_seen(noting: Noting) -> None:
    def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.NotFound("not here") if request.value else SystemExit(1)

    def fail_later(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield request
        raise gyr.DataLoss("no more")

    async with serving(
        {"interceptors": [noting], "max_workers": 1}, unary=fail, server_stream=fail_later
    ) as stub:
        assert (await stub.unary(message(b"x")).status()).code == gyr.StatusCode.NOT_FOUND
        assert (await stub.unary(message()).status()).code == gyr.StatusCode.UNKNOWN
        found, error = await collect_failing(stub.server_stream(message(b"x")))
        assert (found, error.code) == ([b"x"], gyr.StatusCode.DATA_LOSS)
    assert noting.codes == [
        gyr.StatusCode.NOT_FOUND,
        gyr.StatusCode.UNKNOWN,
        gyr.StatusCode.DATA_LOSS,
    ]


async def test_calls_wait_in_order_and_those_over_the_limit_are_refused(noting: Noting) -> None:
    gate = Gate()
    options = {"interceptors": [noting], "max_workers": 1, "max_waiting_calls": 2}
    async with serving(options, unary=gate, client_stream=on_loop) as stub:
        calls = [stub.unary(message(b"0"))]
        await gate.started.wait()
        calls += [stub.unary(message(b"%d" % number)) for number in (1, 2)]
        status = await stub.unary(message(b"over")).status()
        assert status.code == gyr.StatusCode.RESOURCE_EXHAUSTED
        assert "max_waiting_calls=2" in status.message
        assert noting.codes == [gyr.StatusCode.RESOURCE_EXHAUSTED]
        calls[1].cancel()
        await stub.client_stream([])
        # Its place in the queue is free again.
        calls.append(stub.unary(message(b"3")))
        await stub.client_stream([])
        gate.release.set()
        for number in (0, 2, 3):
            assert (await calls[number]).value == b"%d" % number
    assert gate.ran == [b"0", b"2", b"3"]


async def test_a_call_that_is_cancelled_counts_until_its_thread_returns(noting: Noting) -> None:
    gate = Gate()
    seen: list[bool] = []

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        try:
            return gate(request, ctx)
        finally:
            seen.append(ctx.cancelled)

    options = {"interceptors": [noting], "max_workers": 1}
    async with serving(options, unary=wait, client_stream=on_loop) as stub:
        call = stub.unary(message(b"x"))
        await gate.started.wait()
        call.cancel()
        await stub.client_stream([])
        (driver,) = stub.served.server._drivers
        assert driver.running_calls == 1
        gate.release.set()
        # The only thread: this call runs after that one, and finds all of it done.
        await stub.unary(message(b"y"))
        assert driver.running_calls == 0
    assert seen == [True, False]
    assert noting.codes[-2:] == [gyr.StatusCode.CANCELLED, gyr.StatusCode.OK]


async def test_a_deadline_that_passes_while_the_call_waits(noting: Noting) -> None:
    gate, clock = Gate(), gyr.ManualClock()
    options = {"interceptors": [noting], "max_workers": 1}
    async with serving(options, clock=clock, unary=gate, client_stream=on_loop) as stub:
        first = stub.unary(message(b"first"))
        await gate.started.wait()
        late = stub.unary(message(b"late"), timeout=5)
        await stub.client_stream([])
        clock.advance(5)
        assert (await late.status()).code == gyr.StatusCode.DEADLINE_EXCEEDED
        gate.release.set()
        await first
    assert gate.ran == [b"first"]


async def test_a_generator_is_closed_when_nobody_wants_more(noting: Noting) -> None:
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    def endless(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        try:
            while True:
                yield message(b"x" * 10_000)
        finally:
            loop.call_soon_threadsafe(closed.set)

    async with serving({"interceptors": [noting]}, server_stream=endless) as stub:
        call = stub.server_stream(message())
        for _ in range(100):
            assert await call.receive() is not None
        call.cancel()
        await closed.wait()


async def test_what_a_def_handler_hands_on(noting: Noting) -> None:
    async def answer() -> BytesValue:
        await asyncio.sleep(0)
        return message(b"awaited")

    async def stream() -> AsyncIterator[BytesValue]:
        for number in range(3):
            await asyncio.sleep(0)
            yield message(b"%d" % number)

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> object:
        return answer()

    def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> object:
        return stream()

    async with serving(
        {"interceptors": [noting]}, unary=unary, server_stream=server_stream
    ) as stub:
        assert (await stub.unary(message())).value == b"awaited"
        assert await collect(stub.server_stream(message())) == [b"0", b"1", b"2"]
    assert noting.codes == [gyr.StatusCode.OK] * 2


async def test_a_hook_that_cancels_its_call_may_do_so_in_the_thread() -> None:
    class Limit(gyr.Interceptor):
        def reply(self, call: gyr.InterceptedCall, message: Any) -> Any:
            if message.value == b"3":
                call.cancel()
            return message

    def count(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        number = 0
        while True:
            yield message(b"%d" % number)
            number += 1

    async with serving({"interceptors": [Limit()]}, server_stream=count) as stub:
        found, error = await collect_failing(stub.server_stream(message()))
    assert error.code == gyr.StatusCode.CANCELLED
    assert found == [b"0", b"1", b"2"][: len(found)]


async def test_the_grace_ends_calls_that_run_and_that_wait(noting: Noting) -> None:
    gate = Gate()

    def read(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        gate.loop.call_soon_threadsafe(gate.started.set)
        return message(b"%d" % len(list(requests)))

    async def ready(request: BytesValue, ctx: gyr.ServerContext) -> list[BytesValue]:
        return []

    options = {"interceptors": [noting], "max_workers": 1}
    async with serving(options, unary=gate, client_stream=read, server_stream=ready) as stub:
        running = stub.client_stream()
        await running.send(message())
        await gate.started.wait()
        waiting = [stub.unary(message()) for _ in range(3)]
        await collect(stub.server_stream(message()))
        await stub.served.server.stop(grace=0)
        for call in (running, *waiting):
            assert (await call.status()).code == gyr.StatusCode.CANCELLED
    assert gate.ran == []
