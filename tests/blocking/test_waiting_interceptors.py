"""Interceptors of a blocking channel that wait: they hold up their own call, and no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.blocking import CompletionQueue
from tests.blocking.programs import next_event
from tests.blocking.service import HANDLERS, SAFETY_NET_S, BlockingStub, serving_threads
from tests.call.faces import PATTERNS, ask_blocking
from tests.call.service import message

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")
PLACES = ("before", "after", "request", "reply")


class Waiting(gyr.Interceptor):
    """Waits at one place of the calls that have the metadata "wait", until it is let go."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.arrived = threading.Event()
        self.released = threading.Event()
        self.codes: list[gyr.StatusCode] = []

    def wait(self, call: gyr.InterceptedCall, place: str) -> None:
        if place == self.place and "wait" in call.metadata:
            self.arrived.set()
            assert self.released.wait(SAFETY_NET_S)

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        self.wait(call, "before")
        outcome = yield
        self.wait(call, "after")
        if "wait" in call.metadata:
            self.codes.append(outcome.code)

    def request(self, call: gyr.InterceptedCall, message: Any) -> Any:
        self.wait(call, "request")
        return message

    def reply(self, call: gyr.InterceptedCall, message: Any) -> Any:
        self.wait(call, "reply")
        return message


def ask_future(stub: BlockingStub, pattern: str, request: bytes, **options: Any) -> list[bytes]:
    sent = message(request)
    method = getattr(stub, pattern)
    found = method.future([sent] if pattern in ("client_stream", "bidi") else sent, **options)
    reply = found.result(SAFETY_NET_S)
    return [one.value for one in (reply if isinstance(reply, list) else [reply])]


def ask_queue(stub: BlockingStub, pattern: str, request: bytes, **options: Any) -> list[bytes]:
    """Through a completion queue, step by step."""
    queue = CompletionQueue()
    method = getattr(stub, pattern)
    sent = message(request)
    if pattern == "unary":
        method.start(sent, queue=queue, tag="end", **options)
        found = [next_event(queue).result()]
    else:
        streams = pattern in ("client_stream", "bidi")
        call = method.start(*() if streams else (sent,), queue=queue, tag="begin", **options)
        next_event(queue).result()
        if streams:
            call.write(sent, "write")
            next_event(queue).result()
            call.done_sending("done")
            next_event(queue).result()
        found = []
        if pattern != "client_stream":
            call.read("read")
            while (reply := next_event(queue).result()) is not None:
                found.append(reply)
                call.read("read")
        call.finish("end")
        last = next_event(queue).result()
        found += [last] if pattern == "client_stream" else []
    queue.shutdown()
    return [one.value for one in found]


WAYS = {"call": ask_blocking, "future": ask_future, "queue": ask_queue}


@contextmanager
def in_thread(function: Any, *arguments: Any, **options: Any) -> Iterator[Future[Any]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(function, *arguments, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_other_threads_make_their_calls_meanwhile(pattern: str, place: str, way: str) -> None:
    waiting = Waiting(place)
    with serving_threads(None, {"interceptors": [waiting]}, **HANDLERS) as stub:
        ask = WAYS[way]
        with in_thread(ask, stub, pattern, b"1", metadata={"wait": "1"}) as asked:
            try:
                assert waiting.arrived.wait(SAFETY_NET_S)
                for other in PATTERNS:
                    assert WAYS[way](stub, other, b"1") == [b"1"]
                assert not asked.done()
            finally:
                waiting.released.set()
            assert asked.result(SAFETY_NET_S) == [b"1"]
    assert waiting.codes == [gyr.StatusCode.OK]


def test_calls_on_the_channel_itself() -> None:
    """As one does that fetches a token before the call, and again when that is refused."""

    class Token(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            if "fetches" in call.metadata:
                yield
                return
            call.metadata["token"] = self.fetch(b"old")
            outcome = yield
            if outcome.code == gyr.StatusCode.UNAUTHENTICATED:
                call.metadata["token"] = self.fetch(b"new")
                yield

        def fetch(self, which: bytes) -> str:
            return stub.unary(message(which), metadata={"fetches": "1"}).value.decode()

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if "fetches" in ctx.metadata:
            return request
        if ctx.metadata["token"] != "new":
            raise gyr.Unauthenticated("an old token")
        return BytesValue(value=b"welcome")

    with serving_threads(None, {"interceptors": [Token()]}, unary=unary) as stub:
        assert stub.unary(message()).value == b"welcome"
        assert stub.unary.future(message()).result(SAFETY_NET_S).value == b"welcome"


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_pause_before_the_next_attempt_holds_up_no_other(place: str) -> None:
    """The interceptors run again, from the beginning, when the pause is over."""

    class Again(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            outcome = yield
            while outcome.code == gyr.StatusCode.UNAVAILABLE:
                outcome = yield gyr.Retry(0.01)

    refused: list[bytes] = []

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if "wait" in ctx.metadata and not refused:
            refused.append(request.value)
            raise gyr.Unavailable("not yet")
        return request

    waiting = Waiting(place)
    chain = {"interceptors": [Again(), waiting]}
    with (
        serving_threads(None, chain, unary=unary) as stub,
        in_thread(ask_blocking, stub, "unary", b"1", metadata={"wait": "1"}) as asked,
    ):
        try:
            assert waiting.arrived.wait(SAFETY_NET_S)
            assert ask_blocking(stub, "unary", b"2") == [b"2"]
        finally:
            waiting.released.set()
        assert asked.result(SAFETY_NET_S) == [b"1"]
    assert waiting.codes == [gyr.StatusCode.UNAVAILABLE, gyr.StatusCode.OK]


def test_who_cancels_a_call_does_not_wait_for_them() -> None:
    waiting = Waiting("after")
    with serving_threads(None, {"interceptors": [waiting]}, **HANDLERS) as stub:
        future = stub.unary.future(message(b"1"), metadata={"wait": "1"})
        try:
            assert waiting.arrived.wait(SAFETY_NET_S)
            assert future.cancel() is True
            with pytest.raises(gyr.Cancelled):
                future.result(SAFETY_NET_S)
        finally:
            waiting.released.set()
    # The call had ended well before it was cancelled.
    assert waiting.codes == [gyr.StatusCode.OK]


def test_a_deadline_that_passes_while_they_wait_ends_a_future() -> None:
    waiting = Waiting("after")
    with serving_threads(None, {"interceptors": [waiting]}, **HANDLERS) as stub:
        future = stub.unary.future(message(b"1"), metadata={"wait": "1"}, timeout=0.2)
        try:
            assert waiting.arrived.wait(SAFETY_NET_S)
            with pytest.raises(gyr.DeadlineExceeded, match="interceptor"):
                future.result(SAFETY_NET_S)
        finally:
            waiting.released.set()


def test_a_thread_that_cancels_runs_them_before_it_goes_on() -> None:
    waiting = Waiting("nowhere")

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        assert waiting.released.wait(SAFETY_NET_S)
        return request

    with serving_threads(None, {"interceptors": [waiting]}, unary=unary) as stub:
        future = stub.unary.future(message(b"1"), metadata={"wait": "1"})
        try:
            assert future.cancel() is True
            assert waiting.codes == [gyr.StatusCode.CANCELLED]
            assert future.cancelled()
        finally:
            waiting.released.set()


def test_the_end_of_a_call_is_heard_of_after_its_replies() -> None:
    """Also where a reply is still with an interceptor when the call is over."""
    waiting, finish = Waiting("reply"), threading.Event()

    def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield request
        assert finish.wait(SAFETY_NET_S)

    handlers = {**HANDLERS, "server_stream": server_stream}
    with (
        serving_threads({"max_workers": 1}, {"interceptors": [waiting]}, **handlers) as stub,
        in_thread(ask_blocking, stub, "server_stream", b"1", metadata={"wait": "1"}) as asked,
    ):
        try:
            assert waiting.arrived.wait(SAFETY_NET_S)
            finish.set()
            # The only worker is free when the stream has ended.
            assert ask_blocking(stub, "unary", b"2") == [b"2"]
            assert waiting.codes == []
        finally:
            finish.set()
            waiting.released.set()
        assert asked.result(SAFETY_NET_S) == [b"1"]
    assert waiting.codes == [gyr.StatusCode.OK]


def test_both_directions_of_a_call_see_its_context() -> None:
    """One thread passes a request through, and another a reply, at the same time."""
    seen: dict[str, str] = {}
    meeting = threading.Barrier(2, timeout=SAFETY_NET_S)

    class Looking(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            WHO.set("the interceptor")
            yield

        def request(self, call: gyr.InterceptedCall, message: Any) -> Any:
            if message.value == b"second":
                meeting.wait()
                seen["request"] = WHO.get()
                meeting.wait()
            return message

        def reply(self, call: gyr.InterceptedCall, message: Any) -> Any:
            if message.value == b"first":
                meeting.wait()
                seen["reply"] = WHO.get()
                meeting.wait()
            return message

    with (
        serving_threads(None, {"interceptors": [Looking()]}, **HANDLERS) as stub,
        stub.bidi() as call,
    ):
        call.send(message(b"first"))
        with in_thread(call.send, message(b"second")) as sent:
            assert call.receive() == message(b"first")
            sent.result(SAFETY_NET_S)
        assert call.receive() == message(b"second")
        call.done_sending()
        assert call.receive() is None
    assert seen == {"request": "the interceptor", "reply": "the interceptor"}


def test_one_that_does_not_end_does_not_hold_the_last_channel_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waiting = Waiting("after")
    with serving_threads(None, {"interceptors": [waiting]}, **HANDLERS) as stub:
        future = stub.unary.future(message(b"1"), metadata={"wait": "1"})
        assert waiting.arrived.wait(SAFETY_NET_S)
        threads = [one for one in threading.enumerate() if one.name == "gyrfalcon-interceptors"]
        stub.channel.close()
        waiting.released.set()
        assert future.result(SAFETY_NET_S) == message(b"1")
        for thread in threads:
            thread.join(SAFETY_NET_S)
    assert [one.message.partition(";")[0] for one in caplog.records] == [
        "interceptors of blocking channels still run 1 s after the last channel was closed"
    ]
