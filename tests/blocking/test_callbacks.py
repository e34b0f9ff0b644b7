"""Callback handlers: whoever has `finish` ends the call, from any thread, once."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, ClassVar

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.blocking import Finish, Server, callback
from tests.blocking.programs import SAFETY_NET_S, Client, client
from tests.call.service import Calls, Stub, message

Taken = SimpleQueue[tuple[BytesValue, gyr.ServerContext, Finish[BytesValue]]]


class Held(Calls):
    """Hands what it is called with to the test."""

    def __init__(self) -> None:
        self.taken: Taken = SimpleQueue()

    @callback
    def unary(
        self, request: BytesValue, ctx: gyr.ServerContext, finish: Finish[BytesValue]
    ) -> None:
        """Answers some time."""
        self.taken.put((request, ctx, finish))


@contextmanager
def holding() -> Iterator[tuple[Taken, Client]]:
    service = Held()
    with Server([service]) as server, client(server.listen("127.0.0.1:0")) as one:
        yield service.taken, one


@contextmanager
def answering(function: Callable[[Any, Any, Any, Any], Any]) -> Iterator[Client]:
    class Answering(Calls):
        unary = callback(function)

    with Server([Answering()]) as server, client(server.listen("127.0.0.1:0")) as one:
        yield one


def take(taken: Taken) -> tuple[BytesValue, gyr.ServerContext, Finish[BytesValue]]:
    return taken.get(timeout=SAFETY_NET_S)


# ------------------------------------------------------------------ ending a call


def test_another_thread_ends_the_call() -> None:
    with holding() as (taken, one):
        outcome = one.start_unary(b"a")
        request, ctx, finish = take(taken)
        assert (request, ctx.method) == (message(b"a"), "/tests.Calls/Unary")
        assert repr(finish) == "<Finish of /tests.Calls/Unary, not called>"
        assert not outcome.done()
        finish(message(b"later"))
        assert outcome.result(SAFETY_NET_S) == b"later"
        assert repr(finish) == "<Finish of /tests.Calls/Unary, called>"


def test_the_handler_itself_may_end_it() -> None:
    with answering(lambda self, request, ctx, finish: finish(request)) as one:
        assert one.unary(b"at once") == b"at once"


def test_the_handler_runs_on_the_loop_and_waits_for_nobody() -> None:
    names: list[str] = []

    def note(self: Any, request: BytesValue, ctx: Any, finish: Finish[BytesValue]) -> None:
        names.append(threading.current_thread().name)
        finish(request)

    with answering(note) as one:
        one.unary()
    assert names == ["gyrfalcon-server"]


def test_an_error_ends_it() -> None:
    with holding() as (taken, one):
        outcome = one.start_unary()
        take(taken)[2](error=gyr.NotFound("no such thing"))
        with pytest.raises(gyr.NotFound, match="no such thing"):
            outcome.result(SAFETY_NET_S)


def test_metadata_goes_both_ways() -> None:
    async def call(stub: Stub) -> list[Any]:
        made = stub.unary(message(), metadata={"a": "1"})
        await made
        return [(await made.initial_metadata()).items(), (await made.trailing_metadata()).items()]

    def answer(self: Any, request: BytesValue, ctx: gyr.ServerContext, finish: Any) -> None:
        ctx.trailing_metadata.add("trailing", ctx.metadata["a"])
        finish(request)

    with answering(answer) as one:
        assert one.run(call) == [[], [("trailing", "1")]]


def test_a_second_end_is_refused_whoever_comes_second() -> None:
    with holding() as (taken, one):
        outcome = one.start_unary()
        finish = take(taken)[2]
        barrier = threading.Barrier(4)
        refused: list[str] = []

        def end() -> None:
            barrier.wait(SAFETY_NET_S)
            try:
                finish(message(b"r"))
            except RuntimeError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SAFETY_NET_S)
        text = "/tests.Calls/Unary: finish was called twice for one call"
        assert refused == [text] * 3
        with pytest.raises(RuntimeError, match="called twice"):
            finish(error=gyr.NotFound())
        assert outcome.result(SAFETY_NET_S) == b"r"


@pytest.mark.parametrize(
    ("misuse", "text"),
    [
        (lambda finish: finish(), "a reply or an error="),
        (lambda finish: finish(None), "a reply or an error="),
        (lambda finish: finish(message(), error=gyr.NotFound()), "a reply or an error="),
        (lambda finish: finish(error=gyr.NotFound), "it must be an exception"),
    ],
)
def test_misuse_is_named_and_the_call_can_still_be_ended(misuse: Any, text: str) -> None:
    with holding() as (taken, one):
        outcome = one.start_unary()
        finish = take(taken)[2]
        with pytest.raises(TypeError, match=text):
            misuse(finish)
        finish(message(b"r"))
        assert outcome.result(SAFETY_NET_S) == b"r"


def test_many_calls_ended_by_many_threads() -> None:
    def end_all(taken: Taken) -> None:
        while (item := taken.get(timeout=SAFETY_NET_S)) is not None:
            item[2](message(b"re " + item[0].value))

    async def call_many(stub: Stub) -> list[BytesValue]:
        return await asyncio.gather(*[stub.unary(message(b"%d" % n)) for n in range(2000)])

    with holding() as (taken, one):
        threads = [threading.Thread(target=end_all, args=(taken,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        replies = one.run(call_many)
        for _ in threads:
            taken.put(None)  # type: ignore[arg-type]
        for thread in threads:
            thread.join(SAFETY_NET_S)
    assert [reply.value for reply in replies] == [b"re %d" % n for n in range(2000)]


# ------------------------------------------------------------------ what goes wrong


def check_unknown(one: Client, caplog: pytest.LogCaptureFixture, logged: str, cause: str) -> None:
    caplog.set_level(logging.ERROR, "gyrfalcon.server")
    with pytest.raises(gyr.Unknown) as caught:
        one.unary()
    assert cause not in caught.value.message
    (record,) = caplog.records
    assert record.getMessage() == logged
    assert record.exc_info is not None
    assert cause in str(record.exc_info[1])


def test_a_finish_that_is_dropped_ends_the_call_unknown(caplog: pytest.LogCaptureFixture) -> None:
    with answering(lambda self, request, ctx, finish: None) as one:
        check_unknown(
            one,
            caplog,
            "/tests.Calls/Unary: the handler failed",
            "the handler of /tests.Calls/Unary dropped its finish uncalled",
        )


def test_a_finish_that_is_dropped_by_another_thread_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "gyrfalcon.server")
    with holding() as (taken, one):
        outcome = one.start_unary()
        finish = take(taken)[2]
        cycle: list[Any] = [finish]
        cycle.append(cycle)
        del finish, cycle
        gc.collect()
        with pytest.raises(gyr.Unknown):
            outcome.result(SAFETY_NET_S)
    assert len(caplog.records) == 1


def test_a_handler_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    def fail(self: Any, request: Any, ctx: Any, finish: Any) -> None:
        raise ZeroDivisionError("its secret")

    with answering(fail) as one:
        check_unknown(one, caplog, "/tests.Calls/Unary: the handler failed", "its secret")


def test_a_handler_that_raises_an_rpc_error() -> None:
    def fail(self: Any, request: Any, ctx: Any, finish: Any) -> None:
        raise gyr.InvalidArgument("not like this")

    with answering(fail) as one, pytest.raises(gyr.InvalidArgument, match="not like this"):
        one.unary()


def test_a_handler_that_fails_after_it_ended_its_call(caplog: pytest.LogCaptureFixture) -> None:
    def fail(self: Any, request: BytesValue, ctx: Any, finish: Finish[BytesValue]) -> None:
        finish(request)
        raise ZeroDivisionError("too late")

    caplog.set_level(logging.ERROR, "gyrfalcon.server")
    with answering(fail) as one:
        assert one.unary(b"a") == b"a"
    assert [record.getMessage() for record in caplog.records] == [
        "/tests.Calls/Unary: the handler failed after it was handed on"
    ]


def test_a_handler_that_returns_something(caplog: pytest.LogCaptureFixture) -> None:
    with answering(lambda self, request, ctx, finish: request) as one:
        check_unknown(
            one,
            caplog,
            "/tests.Calls/Unary: the handler failed",
            "ends its call with finish(reply)",
        )


# ------------------------------------------------------------------ cancellation


def test_after_a_cancellation_finish_is_harmless_and_it_is_heard_of() -> None:
    heard: SimpleQueue[str] = SimpleQueue()
    with holding() as (taken, one):
        outcome = one.start_unary(timeout=0.05)
        _, ctx, finish = take(taken)
        finish.when_cancelled(lambda: heard.put("first"))
        finish.when_cancelled(lambda: heard.put("second"))
        assert heard.get(timeout=SAFETY_NET_S) == "first"
        assert heard.get(timeout=SAFETY_NET_S) == "second"
        assert (finish.cancelled, ctx.cancelled) == (True, True)
        finish.when_cancelled(lambda: heard.put("late"))
        assert heard.get(timeout=0) == "late"
        finish(message(b"in vain"))
        with pytest.raises(RuntimeError, match="twice"):
            finish(message(b"again"))
        with pytest.raises(gyr.DeadlineExceeded):
            outcome.result(SAFETY_NET_S)
    assert heard.empty()


def test_a_callback_of_the_cancellation_that_fails_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = threading.Event()
    with holding() as (taken, one):
        outcome = one.start_unary(timeout=0.05)
        finish = take(taken)[2]
        finish.when_cancelled(lambda: 1 / 0)
        finish.when_cancelled(heard.set)
        assert heard.wait(SAFETY_NET_S)
        with pytest.raises(gyr.DeadlineExceeded):
            outcome.result(SAFETY_NET_S)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "/tests.Calls/Unary: a callback of its cancellation failed"
    ]


def test_a_call_that_ended_is_not_cancelled() -> None:
    heard: list[str] = []
    with holding() as (taken, one):
        outcome = one.start_unary()
        finish = take(taken)[2]
        finish.when_cancelled(lambda: heard.append("cancelled"))
        finish(message(b"r"))
        assert outcome.result(SAFETY_NET_S) == b"r"
        assert finish.cancelled is False
    assert heard == []


def test_after_the_server_has_stopped_finish_is_harmless() -> None:
    service = Held()
    with Server([service]) as server, client(server.listen("127.0.0.1:0")) as one:
        outcome = one.start_unary()
        finish = take(service.taken)[2]
        dropped = one.start_unary()
        item: Any = take(service.taken)
        server.stop(grace=0)
        finish(message(b"in vain"))
        del item
        for call in (outcome, dropped):
            with pytest.raises(gyr.Cancelled):
                call.result(SAFETY_NET_S)


# ------------------------------------------------------------------ decoration


async def asynchronous(self: Any, request: Any, ctx: Any, finish: Any) -> None: ...


async def asynchronous_stream(
    self: Any, request: Any, ctx: Any, finish: Any
) -> AsyncIterator[None]:
    yield


def stream(self: Any, request: Any, ctx: Any, finish: Any) -> Iterator[None]:
    yield


def without_finish(self: Any, request: Any, ctx: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (asynchronous, "is `async def`"),
        (asynchronous_stream, "is `async def`"),
        (stream, r"yields: .*finish\(reply\)"),
        (without_finish, "cannot be called so .too many positional arguments"),
        ("say_hello", "'say_hello' is no function"),
    ],
)
def test_what_cannot_be_a_callback_handler_is_refused_at_decoration(
    function: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        callback(function)


@pytest.mark.parametrize("attribute", ["server_stream", "client_stream", "bidi"])
def test_a_method_with_a_stream_is_refused_when_the_server_is_made(attribute: str) -> None:
    kind = type("Streaming", (Calls,), {attribute: Held.unary})
    with pytest.raises(TypeError, match=f"{attribute} is a handler for UNARY_UNARY methods, and"):
        Server([kind()])


def test_the_handler_keeps_its_name_and_its_text() -> None:
    assert (Held.unary.__name__, Held.unary.__doc__) == ("unary", "Answers some time.")


def test_it_is_served_by_the_asyncio_server_too() -> None:
    class Both(Calls):
        kept: ClassVar[list[Finish[BytesValue]]] = []

        @callback
        def unary(self, request: BytesValue, ctx: Any, finish: Finish[BytesValue]) -> None:
            threading.Timer(0, finish, [request]).start()

    async def main() -> bytes:
        async with gyr.Server([Both()]) as server:
            port = await server.listen("127.0.0.1:0")
            async with gyr.Channel(f"127.0.0.1:{port}") as channel:
                return (await Stub(channel).unary(message(b"a"))).value

    for _ in range(2):  # the second loop of this thread has an inbox of its own
        assert asyncio.run(main()) == b"a"
