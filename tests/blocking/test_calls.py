"""Calls of the blocking channel, in all patterns."""

from __future__ import annotations

import asyncio
import gc
import inspect
import queue
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import HANDLERS, SAFETY_NET_S, BlockingStub, echo, serving_threads
from tests.call.service import UNARY, message


def values(replies: Iterable[BytesValue]) -> list[bytes]:
    return [reply.value for reply in replies]


def test_one_request_and_one_reply() -> None:
    with serving_threads(**HANDLERS) as stub:
        assert stub.unary(message(b"hello")) == message(b"hello")


def test_replies_are_iterated() -> None:
    with serving_threads(**HANDLERS) as stub:
        assert values(stub.server_stream(message(b"3"))) == [b"3", b"2", b"1"]
        assert values(stub.server_stream(message(b"0"))) == []


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda requests: (one for one in requests)])
def test_requests_come_from_any_iterable(kind: Any) -> None:
    requests = [message(b"%d" % number) for number in range(20)]
    joined = b"".join(values(requests))
    with serving_threads(**HANDLERS) as stub:
        assert stub.client_stream(kind(requests)) == message(joined)
        assert list(stub.bidi(kind(requests))) == requests


def test_requests_and_replies_are_independent() -> None:
    with serving_threads(**HANDLERS) as stub, stub.bidi() as call:
        for number in range(5):
            call.send(message(b"%d" % number))
            assert call.receive() == message(b"%d" % number)
        call.done_sending()
        assert call.receive() is None
        assert call.receive() is None
        assert call.status() == gyr.Status(gyr.StatusCode.OK)


def test_requests_that_depend_on_replies_may_come_from_an_iterator() -> None:
    answers: queue.SimpleQueue[BytesValue | None] = queue.SimpleQueue()
    answers.put(message(b"x"))
    last = b""
    with serving_threads(**HANDLERS) as stub:
        for reply in stub.bidi(iter(answers.get, None)):
            longer = message(reply.value + b"x")
            answers.put(longer if len(longer.value) < 5 else None)
            last = reply.value
        assert last == b"xxxx"


def test_large_messages_go_through_small_windows() -> None:
    big = message(b"x" * 3_000_000)
    window = {"stream_window": 65_535, "connection_window": 65_535}
    with serving_threads(window, window, **HANDLERS) as stub:
        assert stub.unary(big) == big
        assert list(stub.bidi([big, big])) == [big, big]
        assert list(stub.bidi(iter([big, big]))) == [big, big]


def test_metadata_goes_both_ways() -> None:
    def handler(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        ctx.send_initial_metadata({"first": ctx.metadata["key"]})
        ctx.trailing_metadata.add("last-bin", b"\x00\xff")
        yield request

    with serving_threads(server_stream=handler) as stub:
        call = stub.server_stream(message(), metadata={"key": "value"})
        assert call.initial_metadata()["first"] == "value"
        assert list(call) == [message()]
        assert call.trailing_metadata()["last-bin"] == b"\x00\xff"
        assert call.peer == f"ipv4:{stub.target}"


def test_an_error_is_the_exception_of_its_code() -> None:
    def fail(request: Any, ctx: gyr.ServerContext) -> BytesValue:
        ctx.trailing_metadata.add("why", "because")
        raise gyr.NotFound("no such thing")

    with serving_threads(unary=fail, client_stream=fail) as stub:
        with pytest.raises(gyr.NotFound, match="no such thing") as caught:
            stub.unary(message())
        assert caught.value.trailing_metadata["why"] == "because"
        with pytest.raises(gyr.NotFound):
            stub.client_stream(iter([message()]))
        with pytest.raises(gyr.Unimplemented):
            list(stub.server_stream(message()))


def test_a_deadline_ends_the_call() -> None:
    release = threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        release.wait(SAFETY_NET_S)
        return request

    with serving_threads(unary=wait) as stub:
        with pytest.raises(gyr.DeadlineExceeded):
            stub.unary(message(), timeout=0.05)
        with pytest.raises(gyr.DeadlineExceeded):
            stub.unary(message(), timeout=0)
        release.set()
        assert stub.unary(message(b"in time"), timeout=SAFETY_NET_S) == message(b"in time")


def test_a_deadline_ends_a_call_whose_requests_do_not_come() -> None:
    never: queue.SimpleQueue[BytesValue | None] = queue.SimpleQueue()
    with serving_threads(**HANDLERS) as stub:
        with pytest.raises(gyr.DeadlineExceeded):
            stub.client_stream(iter(never.get, None), timeout=0.05)
        never.put(None)


@pytest.mark.parametrize("followers", [0, 3])
def test_another_thread_may_cancel(followers: int) -> None:
    started = threading.Semaphore(0)

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"first")
        started.release()
        await asyncio.Event().wait()

    outcomes: queue.SimpleQueue[type[BaseException] | None] = queue.SimpleQueue()

    def read(call: Any) -> None:
        try:
            list(call)
        except gyr.RpcError as error:
            outcomes.put(type(error))

    with serving_threads(server_stream=wait) as stub:
        calls = [stub.server_stream(message()) for _ in range(followers + 1)]
        threads = [threading.Thread(target=read, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for _ in calls:
            assert started.acquire(timeout=SAFETY_NET_S)
        for call, thread in zip(calls, threads, strict=True):
            assert call.cancel() is True
            assert outcomes.get(timeout=SAFETY_NET_S) is gyr.Cancelled
            thread.join()
            assert (call.done(), call.cancelled(), call.cancel()) == (True, True, False)


def test_leaving_the_block_cancels() -> None:
    gone = threading.Event()

    def stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        try:
            while True:
                yield request
        finally:
            gone.set()

    with serving_threads(server_stream=stream) as stub:
        with stub.server_stream(message(b"x")) as call:
            assert next(call) == message(b"x")
        assert call.cancelled()
        assert gone.wait(SAFETY_NET_S)


def test_a_call_that_nobody_holds_is_cancelled() -> None:
    gone = threading.Event()

    def stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        try:
            while True:
                yield request
        finally:
            gone.set()

    with serving_threads(server_stream=stream) as stub:
        for reply in stub.server_stream(message(b"x")):
            assert reply == message(b"x")
            break
        gc.collect()
        assert gone.wait(SAFETY_NET_S)


def test_the_source_of_requests_fails() -> None:
    def broken() -> Iterator[BytesValue]:
        yield message(b"one")
        raise LookupError("no more")

    with serving_threads(**HANDLERS) as stub:
        with pytest.raises(LookupError, match="no more"):
            stub.client_stream(broken())
        with pytest.raises(LookupError, match="no more"):
            list(stub.bidi(broken()))


def test_the_server_may_end_before_the_requests_do() -> None:
    closed = threading.Event()

    def endless() -> Iterator[BytesValue]:
        try:
            while True:
                yield message(b"x" * 1000)
        finally:
            closed.set()

    def first(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return next(requests)

    with serving_threads(client_stream=first) as stub:
        assert stub.client_stream(endless()) == message(b"x" * 1000)
        assert closed.wait(SAFETY_NET_S)
        future = stub.client_stream.future()
        future.send(message(b"only"))
        assert future.result(SAFETY_NET_S) == message(b"only")
        with pytest.raises(EOFError, match="the server ended the call"):
            future.send(message())


def test_many_threads_share_a_channel() -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(50):
            sent = message(b"%d-%d" % (number, turn))
            if (answer := stub.unary(sent)) != sent:
                wrong.append(answer)
            if values(stub.server_stream(message(b"3"))) != [b"3", b"2", b"1"]:
                wrong.append(number)

    with serving_threads(**HANDLERS) as stub:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_call_names_the_step_and_the_address_that_failed() -> None:
    with gyr.blocking.Channel("unix:/nowhere/at/all") as channel:
        stub = BlockingStub(channel)
        with pytest.raises(gyr.Unavailable, match="connect to unix:/nowhere/at/all"):
            stub.unary(message(), timeout=SAFETY_NET_S)


def test_wait_for_ready_waits_until_the_deadline() -> None:
    with gyr.blocking.Channel("unix:/nowhere/at/all") as channel:
        with pytest.raises(gyr.DeadlineExceeded, match="connect to"):
            BlockingStub(channel).unary(message(), timeout=0.05, wait_for_ready=True)
        with pytest.raises(TimeoutError):
            channel.wait_ready(timeout=0.01)


def test_the_channel_gets_ready() -> None:
    with serving_threads(unary=echo) as stub:
        assert stub.channel.state.name == "IDLE"
        stub.channel.wait_ready(timeout=SAFETY_NET_S)
        assert stub.channel.state.name == "READY"
        assert stub.channel.target == stub.target


def test_names_are_looked_up() -> None:
    with serving_threads(unary=echo) as stub:
        port = stub.target.rpartition(":")[2]
        with gyr.blocking.Channel(f"localhost:{port}") as channel:
            assert BlockingStub(channel).unary(message(b"x")) == message(b"x")


def test_closing_ends_the_calls_of_other_threads() -> None:
    started = threading.Event()
    raised: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        await asyncio.Event().wait()
        return request

    def work() -> None:
        try:
            stub.unary(message())
        except gyr.RpcError as error:
            raised.put(error)

    with serving_threads(unary=wait) as stub:
        thread = threading.Thread(target=work)
        thread.start()
        assert started.wait(SAFETY_NET_S)
        stub.channel.close()
        assert isinstance(raised.get(timeout=SAFETY_NET_S), gyr.Cancelled)
        thread.join()
        stub.channel.close()
        with pytest.raises(RuntimeError, match="is closed"):
            stub.unary(message())


def test_what_is_no_blocking_channel_is_refused() -> None:
    other: Any = gyr.Channel("127.0.0.1:1")
    with pytest.raises(TypeError, match=r"needs a gyrfalcon\.blocking\.Channel"):
        gyr.blocking.UnaryUnary(other, UNARY)


def test_asynchronous_requests_are_refused() -> None:
    async def requests() -> AsyncIterator[BytesValue]:
        yield message()

    argument: Any = requests()
    with serving_threads(**HANDLERS) as stub:
        with pytest.raises(TypeError, match="called from threads"):
            stub.client_stream(argument)
        with pytest.raises(TypeError, match="stream of requests"):
            stub.client_stream(7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="needs its requests"):
            stub.client_stream(None)  # type: ignore[arg-type]


def test_options_are_those_of_the_asyncio_channel() -> None:
    assert list(inspect.signature(gyr.blocking.Channel).parameters) == list(
        inspect.signature(gyr.Channel).parameters
    )
    with pytest.raises(ValueError, match="max_receive_bytes"):
        gyr.blocking.Channel("127.0.0.1:1", max_receive_bytes=-1)


def test_a_forgotten_channel_closes_its_connection() -> None:
    closed = threading.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield request
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    with serving_threads(server_stream=wait) as stub:
        channel = gyr.blocking.Channel(stub.target)
        call = BlockingStub(channel).server_stream(message())
        assert next(call) == message()
        del call, channel
        gc.collect()
        assert closed.wait(SAFETY_NET_S)
