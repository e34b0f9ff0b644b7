"""The threads of `def` handlers: their order, their limits, and their end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.server import server as server_module
from gyrfalcon.server.pool import Job
from tests.call.service import Stub, collect, collect_failing, message, serving

pytestmark = pytest.mark.anyio

# A thread that a test has to wait for, and that never comes, fails the test after so long.
THREAD_S = 20.0
# A program that does not end by itself fails its test after so long.
PROGRAM_S = 60.0

NAME = contextvars.ContextVar("NAME", default="nobody")


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


def workers() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("gyrfalcon")}


# ---------------------------------------------------------------------- order and limits


async def test_calls_are_taken_in_the_order_in_which_they_came() -> None:
    gate = Gate()
    async with serving({"max_workers": 1}, unary=gate, client_stream=on_loop) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(100)]
        await gate.started.wait()
        await stub.client_stream([])
        gate.release.set()
        for call in calls:
            await call
    assert gate.ran == [b"%d" % number for number in range(100)]


async def test_handlers_that_block_run_in_as_many_threads_as_there_are() -> None:
    together = threading.Barrier(8)

    def meet(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        together.wait(THREAD_S)
        return request

    async with serving({"max_workers": 8}, unary=meet) as stub:
        before = workers()
        for _ in range(3):
            await asyncio.gather(*(stub.unary(message()) for _ in range(8)))
        assert len(workers() - before) == 8


async def test_streams_and_unary_calls_share_the_threads() -> None:
    gate = Gate()

    def echo(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield from requests

    async with (
        serving({"max_workers": 1}, unary=gate, bidi=echo, client_stream=on_loop) as stub,
        stub.bidi() as stream,
    ):
        await stream.send(message(b"held"))
        assert await stream.receive() == message(b"held")
        call = stub.unary(message(b"next"))
        await stub.client_stream([])
        assert gate.ran == []
        await stream.done_sending()
        await gate.started.wait()
        gate.release.set()
        await call
        assert await collect(stream) == []


async def test_a_call_over_the_limit_of_waiting_calls_is_refused_at_once() -> None:
    gate = Gate()
    options = {"max_workers": 1, "max_waiting_calls": 2}
    async with serving(options, unary=gate, server_stream=gate, client_stream=on_loop) as stub:
        running = stub.unary(message(b"running"))
        await gate.started.wait()
        waiting = [stub.unary(message(b"%d" % number)) for number in range(2)]
        for refused in (stub.unary(message(b"over")), stub.server_stream(message(b"over"))):
            status = await refused.status()
            assert status.code == gyr.StatusCode.RESOURCE_EXHAUSTED
            assert "max_waiting_calls=2" in status.message
            assert "max_workers" in status.message
        # One that gives up makes room for another.
        waiting.pop().cancel()
        await stub.client_stream([])
        waiting.append(stub.unary(message(b"later")))
        await stub.client_stream([])
        assert not waiting[-1].done()
        gate.release.set()
        for call in (running, *waiting):
            await call
        await stub.unary(message(b"after"))
    assert gate.ran == [b"running", b"0", b"later", b"after"]


async def test_no_call_waits_where_none_may() -> None:
    gate = Gate()
    options = {"max_workers": 2, "max_waiting_calls": 0}
    async with serving(options, unary=gate) as stub:
        running = [stub.unary(message()), stub.unary(message())]
        status = await stub.unary(message()).status()
        assert status.code == gyr.StatusCode.RESOURCE_EXHAUSTED
        gate.release.set()
        for call in running:
            await call
        for _ in range(10):
            await stub.unary(message())


@pytest.mark.parametrize("value", [-1, 2**31, 1.5, "many"])
async def test_a_wrong_limit_is_named(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_waiting_calls"):
        gyr.Server([], max_waiting_calls=value)


async def test_a_call_whose_deadline_passes_while_it_waits_never_reaches_its_handler() -> None:
    gate, clock = Gate(), gyr.ManualClock()
    async with serving(
        {"max_workers": 1}, clock=clock, unary=gate, server_stream=gate, client_stream=on_loop
    ) as stub:
        running = stub.unary(message(b"running"))
        await gate.started.wait()
        late = (
            stub.unary(message(b"late"), timeout=5),
            stub.server_stream(message(b"late"), timeout=5),
        )
        await stub.client_stream([])
        clock.advance(5)
        for call in late:
            assert (await call.status()).code == gyr.StatusCode.DEADLINE_EXCEEDED
        gate.release.set()
        await running
        await stub.unary(message(b"after"))
    assert gate.ran == [b"running", b"after"]


async def test_a_thread_looks_at_the_deadline_itself_when_the_loop_is_late() -> None:
    gate, clock = Gate(), gyr.ManualClock()

    def hold_up(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if request.value == b"first":
            gate(request, ctx)
            # The next call is due now, and this thread takes it before the loop has a chance.
            clock.advance(5)
            return request
        return gate(request, ctx)

    async with serving(
        {"max_workers": 1}, clock=clock, unary=hold_up, client_stream=on_loop
    ) as stub:
        first = stub.unary(message(b"first"))
        await gate.started.wait()
        late = stub.unary(message(b"late"), timeout=5)
        await stub.client_stream([])
        gate.release.set()
        await first
        assert (await late.status()).code == gyr.StatusCode.DEADLINE_EXCEEDED
    assert gate.ran == [b"first"]


async def test_calls_that_are_cancelled_while_they_wait_do_not_fill_the_queue() -> None:
    def jobs() -> int:
        return sum(isinstance(one, Job) for one in gc.get_objects())

    gate = Gate()
    async with serving({"max_workers": 1}, unary=gate, client_stream=on_loop) as stub:
        running = stub.unary(message(b"running"))
        await gate.started.wait()
        waiting = stub.unary(message(b"waiting"))
        for _ in range(10):
            calls = [stub.unary(message(b"x" * 10_000)) for _ in range(100)]
            await stub.client_stream([])
            for call in calls:
                call.cancel()
            await stub.client_stream([])
        assert jobs() < 200
        gate.release.set()
        await running
        await waiting
    assert gate.ran == [b"running", b"waiting"]


async def test_a_request_that_a_thread_took_makes_room_for_others_on_the_connection() -> None:
    gate = Gate()
    arrived = threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if not gate.ran:
            return gate(request, ctx)
        assert arrived.wait(THREAD_S)
        return message(b"%d" % len(request.value))

    async def arrive(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        if await collect(requests):
            arrived.set()
        return message()

    small = {"stream_window": 65535, "connection_window": 65535, "max_unread_bytes": 65535}
    async with (
        serving({"max_workers": 1, **small}, unary=wait, client_stream=arrive) as stub,
        stub.served.channel() as other,
    ):
        # On a connection of its own: on this one its end would give credit back too.
        running = Stub(other).unary(message(b"small"))
        await gate.started.wait()
        # With these two unread the connection's window stays shut when it is used up. The third
        # message cannot come before the first is taken, and that one's handler waits for it.
        waiting = [stub.unary(message(b"x" * size)) for size in (60_000, 6_000)]
        for _ in range(5):
            await stub.client_stream([])
        third = stub.client_stream([message(b"x" * 70_000)])
        # No call can tell when all has arrived that may: each would need the window.
        for _ in range(200):
            await asyncio.sleep(0)
        assert not arrived.is_set()
        gate.release.set()
        await third
        await running
        assert [(await call).value for call in waiting] == [b"60000", b"6000"]


async def test_a_thread_that_cannot_be_started_fails_the_call_and_not_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async with serving(unary=echo) as stub:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            status = await stub.unary(message()).status()
        assert status.code == gyr.StatusCode.RESOURCE_EXHAUSTED
        assert "cannot start a thread" in status.message
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert (await stub.unary(message(b"x"))).value == b"x"


# ---------------------------------------------------------------------- how handlers end


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, LookupError])
async def test_no_exception_of_a_handler_ends_its_thread(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    threads = set()

    def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        threads.add(threading.current_thread())
        if request.value:
            raise kind("of the handler")
        return request

    def fail_later(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        threads.add(threading.current_thread())
        yield message(b"first")
        raise kind("of the handler")

    expected = gyr.StatusCode.CANCELLED if kind is GeneratorExit else gyr.StatusCode.UNKNOWN
    async with serving({"max_workers": 1}, unary=fail, server_stream=fail_later) as stub:
        status = await stub.unary(message(b"x")).status()
        assert status.code == expected
        assert "of the handler" not in status.message
        found, error = await collect_failing(stub.server_stream(message()))
        assert (found, error.code) == ([b"first"], expected)
        assert await stub.unary(message()) == message()
    assert len(threads) == 1


async def test_an_error_of_a_generator_comes_after_all_of_its_replies() -> None:
    def fail_later(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for number in range(1000):
            yield message(b"%d" % number)
        raise gyr.DataLoss("the rest is lost")

    async with serving(server_stream=fail_later) as stub:
        found, error = await collect_failing(stub.server_stream(message()))
    assert found == [b"%d" % number for number in range(1000)]
    assert type(error) is gyr.DataLoss


async def test_what_a_def_handler_hands_on_is_awaited_or_iterated_on_the_loop() -> None:
    seen = []

    async def answer() -> BytesValue:
        await asyncio.sleep(0)
        seen.append((threading.current_thread(), NAME.get()))
        return message(b"awaited")

    async def stream() -> AsyncIterator[BytesValue]:
        for number in range(3):
            await asyncio.sleep(0)
            yield message(b"%d" % number)

    async def listed() -> list[BytesValue]:
        return [message(b"listed")]

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> object:
        NAME.set("the call")
        return answer()

    def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> object:
        return stream()

    def bidi(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> object:
        assert [request.value for request in requests] == [b"request"]
        return listed()

    async with serving(unary=unary, server_stream=server_stream, bidi=bidi) as stub:
        assert (await stub.unary(message())).value == b"awaited"
        assert await collect(stub.server_stream(message())) == [b"0", b"1", b"2"]
        assert await collect(stub.bidi([message(b"request")])) == [b"listed"]
    assert seen == [(threading.main_thread(), "the call")]


async def test_what_is_handed_on_too_late_is_closed() -> None:
    # A coroutine that nobody awaits is a warning, and warnings are errors here.
    gate = Gate()

    async def answer(request: BytesValue) -> BytesValue:
        return request

    def hand_on(request: BytesValue, ctx: gyr.ServerContext) -> object:
        return answer(gate(request, ctx))

    async with serving(unary=hand_on, client_stream=on_loop) as stub:
        call = stub.unary(message(b"x"))
        await gate.started.wait()
        call.cancel()
        await stub.client_stream([])
        gate.release.set()
    assert gate.ran == [b"x"]


# ---------------------------------------------------------------------- other threads of a handler


async def test_requests_may_be_read_in_a_thread_that_the_handler_started() -> None:
    def count(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.extend(one.value for one in requests))
        reader.start()
        ctx.send_initial_metadata({"reading": "1"})
        reader.join(THREAD_S)
        return message(b",".join(found))

    async with serving(client_stream=count) as stub, stub.client_stream() as call:
        assert (await call.initial_metadata())["reading"] == "1"
        for word in (b"one", b"two"):
            await call.send(message(word))
        await call.done_sending()
        assert (await call).value == b"one,two"


async def test_a_reader_that_the_handler_left_behind_ends_with_the_call() -> None:
    readers = []

    def leave(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> list[BytesValue]:
        first = threading.Event()

        def read() -> None:
            for _ in requests:
                first.set()

        reader = threading.Thread(target=read)
        reader.start()
        readers.append(reader)
        assert first.wait(THREAD_S)
        # There and back, while the reader goes on to wait for a second request.
        ctx.send_initial_metadata()
        return []

    async with serving(bidi=leave) as stub, stub.bidi() as call:
        await call.send(message())
        assert await call.receive() is None
        readers[0].join(THREAD_S)
        assert not readers[0].is_alive()


async def test_initial_metadata_may_be_sent_from_any_thread() -> None:
    def send(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        sender = threading.Thread(target=ctx.send_initial_metadata, args=({"from": "afar"},))
        sender.start()
        sender.join(THREAD_S)
        with pytest.raises(RuntimeError, match="once"):
            ctx.send_initial_metadata()
        return request

    async with serving(unary=send) as stub:
        call = stub.unary(message())
        await call
        assert (await call.initial_metadata())["from"] == "afar"


async def test_async_handlers_read_their_requests_with_async_for_only() -> None:
    async def wrong(requests: Any, ctx: gyr.ServerContext) -> BytesValue:
        with pytest.raises(TypeError, match="async for"):
            next(requests)
        return message(b"told")

    async with serving(client_stream=wrong) as stub:
        assert (await stub.client_stream([])).value == b"told"


# ---------------------------------------------------------------------- the end


async def test_a_server_that_stops_runs_the_calls_that_wait() -> None:
    gate = Gate()
    before = workers()
    async with serving({"max_workers": 1}, unary=gate, client_stream=on_loop) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(5)]
        await gate.started.wait()
        await stub.client_stream([])
        stopping = asyncio.create_task(stub.served.server.stop())
        await asyncio.sleep(0)
        gate.release.set()
        for number, call in enumerate(calls):
            assert (await call).value == b"%d" % number
        await stopping
        assert workers() <= before


async def test_calls_that_run_and_that_wait_are_cancelled_when_the_grace_is_over() -> None:
    gate = Gate()
    seen: list[type] = []

    def read(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        gate.loop.call_soon_threadsafe(gate.started.set)
        try:
            return message(b"%d" % len(list(requests)))
        except gyr.RpcError as error:
            seen.append(type(error))
            raise

    async def on_loop_too(request: BytesValue, ctx: gyr.ServerContext) -> list[BytesValue]:
        return []

    before = workers()
    async with serving(
        {"max_workers": 1}, unary=gate, client_stream=read, server_stream=on_loop_too
    ) as stub:
        running = stub.client_stream()
        await running.send(message())
        await gate.started.wait()
        waiting = [stub.unary(message()) for _ in range(5)]
        await collect(stub.server_stream(message()))
        await stub.served.server.stop(grace=0)
        assert workers() <= before
        for call in (running, *waiting):
            assert (await call.status()).code == gyr.StatusCode.CANCELLED
    assert seen == [gyr.Cancelled]
    assert gate.ran == []


async def test_a_handler_that_does_not_return_is_left_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "_CANCEL_SECONDS", 0.05)
    gate = Gate()
    async with serving(unary=gate) as stub:
        call = stub.unary(message(b"x"))
        await gate.started.wait()
        with caplog.at_level(logging.WARNING, "gyrfalcon"):
            await stub.served.server.stop(grace=0)
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        assert [record.getMessage() for record in caplog.records] == [
            "stopped while 1 handlers still run: they do not end when cancelled"
        ]
        gate.release.set()


PROGRAM = """
import asyncio, threading
from google.protobuf.wrappers_pb2 import BytesValue
import gyrfalcon as gyr
from tests.call.service import Calls, Stub

started = threading.Event()

def quick(request, ctx):
    return request

def hang(requests, ctx):
    started.set()
    threading.Event().wait()

async def main():
    global server, call
    server = gyr.Server([Calls(unary=quick, client_stream=hang)])
    port = await server.listen("127.0.0.1:0")
    channel = gyr.Channel(f"127.0.0.1:{port}")
    stub = Stub(channel)
    await stub.unary(BytesValue())
    if HANGS:
        call = stub.client_stream([])
        await asyncio.to_thread(started.wait)
    print("served", flush=True)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


@pytest.mark.parametrize("hangs", [False, True], ids=["idle", "running"])
def test_threads_of_a_server_that_was_not_stopped_do_not_keep_the_program(hangs: bool) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"HANGS = {hangs}\n{PROGRAM}"],
        capture_output=True,
        text=True,
        timeout=PROGRAM_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "served\n"), ended.stderr
    assert "Fatal" not in ended.stderr


async def test_nothing_is_lost_when_many_threads_and_connections_meet() -> None:
    """All patterns at once through few threads, with some calls that block and some cancelled."""

    def pause(request: BytesValue) -> None:
        if request.value.endswith(b"7"):
            threading.Event().wait(0.001)

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        pause(request)
        return request

    def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        pause(request)
        for _ in range(100):
            yield request

    def client_stream(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        last = message()
        for last in requests:
            pause(last)
        return last

    def bidi(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for request in requests:
            pause(request)
            yield request

    async with serving(
        {"max_workers": 5},
        unary=unary,
        server_stream=server_stream,
        client_stream=client_stream,
        bidi=bidi,
    ) as stub:

        async def use(number: int) -> None:
            word = b"%d" % number
            one = message(word)
            calls: list[Callable[[], Any]] = [
                lambda: stub.unary(one),
                lambda: stub.server_stream(one),
                lambda: stub.client_stream([one] * 20),
                lambda: stub.bidi([one] * 20),
            ]
            if number % 10 == 3:
                given_up = calls[number % 4]()
                await asyncio.sleep(0)
                given_up.cancel()
            assert (await stub.unary(one)).value == word
            assert await collect(stub.server_stream(one)) == [word] * 100
            assert (await stub.client_stream([one] * 20)).value == word
            assert await collect(stub.bidi([one] * 20)) == [word] * 20

        await asyncio.gather(*(use(number) for number in range(100)))
