"""Futures of blocking stubs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import HANDLERS, SAFETY_NET_S, serving_threads
from tests.call.service import message


class Held:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.started.set()
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.release.wait, SAFETY_NET_S)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


def test_every_pattern_has_a_future() -> None:
    with serving_threads(**HANDLERS) as stub:
        one = stub.unary.future(message(b"a"))
        many = stub.server_stream.future(message(b"2"))
        joined = stub.client_stream.future([message(b"b"), message(b"c")])
        echoed = stub.bidi.future(iter([message(b"d")] * 2))
        assert one.result(SAFETY_NET_S) == message(b"a")
        assert many.result(SAFETY_NET_S) == [message(b"2"), message(b"1")]
        assert joined.result(SAFETY_NET_S) == message(b"bc")
        assert echoed.result(SAFETY_NET_S) == [message(b"d")] * 2
        for future in (one, many, joined, echoed):
            assert (future.done(), future.cancelled(), future.exception()) == (True, False, None)


def test_it_returns_before_the_call_is_over() -> None:
    held = Held()
    with serving_threads(unary=held) as stub:
        future = stub.unary.future(message(b"x"))
        assert held.started.wait(SAFETY_NET_S)
        assert (future.done(), future.running()) == (False, True)
        with pytest.raises(TimeoutError):
            future.result(timeout=0.01)
        held.release.set()
        assert future.result(SAFETY_NET_S) == message(b"x")


def test_it_tells_what_calls_tell() -> None:
    def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.send_initial_metadata({"first": "1"})
        ctx.trailing_metadata.add("last", "2")
        raise gyr.Aborted("enough")

    with serving_threads(unary=fail) as stub:
        future = stub.unary.future(message(), timeout=SAFETY_NET_S)
        error = future.exception(SAFETY_NET_S)
        assert isinstance(error, gyr.Aborted)
        assert future.initial_metadata()["first"] == "1"
        assert future.trailing_metadata()["last"] == "2"
        assert future.status() == gyr.Status(gyr.StatusCode.ABORTED, "enough")
        assert (future.method, future.peer) == ("/tests.Calls/Unary", f"ipv4:{stub.target}")
        assert future.deadline is not None
        with pytest.raises(gyr.Aborted):
            future.result()


def test_cancel_ends_it_here_and_there() -> None:
    held = Held()
    with serving_threads(unary=held) as stub:
        future = stub.unary.future(message())
        assert held.started.wait(SAFETY_NET_S)
        assert future.cancel() is True
        with pytest.raises(gyr.Cancelled):
            future.result(SAFETY_NET_S)
        assert (future.cancelled(), future.done(), future.cancel()) == (True, True, False)
        assert held.cancelled.wait(SAFETY_NET_S)
        held.release.set()


def test_callbacks_run_in_order_in_one_thread_and_may_make_calls() -> None:
    seen: queue.SimpleQueue[tuple[str, bytes, str]] = queue.SimpleQueue()

    def callback(name: str) -> Any:
        def tell(future: gyr.blocking.Future[BytesValue]) -> None:
            answer = stub.unary(message(name.encode()), timeout=SAFETY_NET_S)
            seen.put((name, answer.value, threading.current_thread().name))

        return tell

    held = Held()
    with serving_threads(unary=HANDLERS["unary"], client_stream=held) as stub:
        future = stub.client_stream.future([message()])
        for name in ("one", "two", "three"):
            future.add_done_callback(callback(name))
        held.release.set()
        assert [seen.get(timeout=SAFETY_NET_S) for _ in range(3)] == [
            (name, name.encode(), "gyrfalcon-callbacks") for name in ("one", "two", "three")
        ]


def test_a_callback_of_what_is_over_is_called_at_once() -> None:
    with serving_threads(**HANDLERS) as stub:
        future = stub.unary.future(message())
        future.result(SAFETY_NET_S)
        threads: list[threading.Thread] = []
        future.add_done_callback(lambda _: threads.append(threading.current_thread()))
        assert threads == [threading.current_thread()]


def test_a_callback_that_fails_is_logged_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(future: object) -> None:
        raise LookupError("the callback's own")

    called = threading.Event()
    held = Held()
    with serving_threads(unary=held) as stub:
        future = stub.unary.future(message())
        future.add_done_callback(broken)
        future.add_done_callback(lambda _: called.set())
        held.release.set()
        assert called.wait(SAFETY_NET_S)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a done-callback failed" in caplog.text


def test_the_standard_library_waits_for_them() -> None:
    with serving_threads(**HANDLERS) as stub:
        futures = [stub.unary.future(message(b"%d" % number)) for number in range(50)]
        done, left = concurrent.futures.wait(futures, timeout=SAFETY_NET_S)
        assert (done, left) == (set(futures), set())
        again = [stub.unary.future(message(b"%d" % number)) for number in range(50)]
        values = {
            future.result().value
            for future in concurrent.futures.as_completed(again, timeout=SAFETY_NET_S)
        }
        assert values == {b"%d" % number for number in range(50)}


def test_an_event_loop_waits_for_them() -> None:
    async def wait() -> BytesValue:
        return await asyncio.wrap_future(stub.unary.future(message(b"x")))

    with serving_threads(**HANDLERS) as stub:
        assert asyncio.run(wait()) == message(b"x")


def test_requests_are_sent_one_by_one() -> None:
    with serving_threads(**HANDLERS) as stub:
        future = stub.client_stream.future()
        for part in (b"a", b"b", b"c"):
            future.send(message(part))
        assert not future.done()
        future.done_sending()
        assert future.result(SAFETY_NET_S) == message(b"abc")


def test_a_call_has_done_callbacks_too() -> None:
    over: queue.SimpleQueue[object] = queue.SimpleQueue()
    with serving_threads(**HANDLERS) as stub:
        call = stub.server_stream(message(b"3"))
        call.add_done_callback(over.put)
        assert len(list(call)) == 3
        assert over.get(timeout=SAFETY_NET_S) is call


def test_closing_the_channel_ends_them() -> None:
    held = Held()
    with serving_threads(unary=held) as stub:
        future = stub.unary.future(message())
        assert held.started.wait(SAFETY_NET_S)
        stub.channel.close()
        with pytest.raises(gyr.Cancelled):
            future.result(SAFETY_NET_S)
        held.release.set()
