"""What interceptors see and may do, where server and client have it alike."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

import gyrfalcon as gyr
from tests.call.faces import FACES, HANDLERS, PATTERNS, REPLIES, asking
from tests.call.service import collect, collect_failing, message, serving

pytestmark = pytest.mark.anyio

SIDES = ("server_options", "channel_options")
KINDS = ("def", "async def")
WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


class Recording(gyr.Interceptor):
    """Notes all it sees, under a name of its own."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name = name
        self.events = events

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        self.events.append(f"{self.name} in")
        outcome = yield
        self.events.append(f"{self.name} {outcome.code.name}")

    def request(self, call: gyr.InterceptedCall, message: Any) -> Any:
        self.events.append(f"{self.name} request {message.value.decode()}")
        return BytesValue(value=message.value + self.name.encode())

    def reply(self, call: gyr.InterceptedCall, message: Any) -> Any:
        self.events.append(f"{self.name} reply {message.value.decode()}")
        return BytesValue(value=message.value + self.name.encode())


class RecordingAsync(Recording):
    """The same, after waiting."""

    async def intercept(  # type: ignore[override]
        self, call: gyr.InterceptedCall
    ) -> gyr.AsyncInterception:
        await asyncio.sleep(0)
        self.events.append(f"{self.name} in")
        outcome = yield
        await asyncio.sleep(0)
        self.events.append(f"{self.name} {outcome.code.name}")


def make(function: Any, kind: str = "def") -> gyr.Interceptor:
    """An interceptor of one function, which is made to await if so wished."""

    class Sync(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            yield from function(call)

    class Async(gyr.Interceptor):
        async def intercept(self, call: gyr.InterceptedCall) -> gyr.AsyncInterception:
            await asyncio.sleep(0)
            generator = function(call)
            try:
                wanted = next(generator)
                while True:
                    outcome = yield wanted
                    await asyncio.sleep(0)
                    wanted = generator.send(outcome)
            except StopIteration:
                return

    return Sync() if kind == "def" else Async()


ALIKE = [
    pytest.param(side, kind, face, id=f"{side.split('_')[0]}-{kind}-{face}")
    for side in SIDES
    for kind in KINDS
    for face in (FACES if kind == "def" or side == "server_options" else ("asyncio",))
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("side", "kind", "face"), ALIKE)
async def test_they_see_everything_in_order(side: str, kind: str, face: str, pattern: str) -> None:
    events: list[str] = []
    inner = Recording if kind == "def" else RecordingAsync
    options = {side: {"interceptors": [Recording("A", events), inner("B", events)]}}
    async with asking(face, **options, **HANDLERS) as ask:
        replies = await ask(pattern, b"x")
    count = len(REPLIES[pattern])
    # A request passes A, then B; a reply B, then A.
    assert replies == [b"xABBA"] * count
    passing = ["B reply xAB", "A reply xABB"]
    expected = ["A in", "B in", "A request x", "B request xA"]
    if side == "channel_options" or count == 1:
        # What comes with the end of the call passes each of them right before its outcome.
        assert sorted(events[4:]) == sorted([*passing * count, "B OK", "A OK"])
        assert events.index("B OK") < events.index("A OK")
        assert events.index("B reply xAB") < events.index("B OK")
        assert events.index("A reply xABB") < events.index("A OK")
        assert events[:4] == expected
    else:
        assert events == [*expected, *passing * count, "B OK", "A OK"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("side", "kind", "face"), ALIKE)
async def test_one_refuses_and_those_further_out_see_it(
    side: str, kind: str, face: str, pattern: str
) -> None:
    events: list[str] = []
    served: list[str] = []

    def refusing(call: gyr.InterceptedCall) -> gyr.Interception:
        raise gyr.PermissionDenied(
            "not you", details=[StringValue(value="why")], trailing_metadata={"realm": "x"}
        )
        yield

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        assert isinstance(outcome.error, gyr.PermissionDenied)
        assert outcome.details == (StringValue(value="why"),)
        events.append(f"{outcome.code.name} {outcome.message}")
        assert outcome.trailing_metadata["realm"] == "x"

    async def never(request: Any, ctx: gyr.ServerContext) -> Any:
        served.append("handler")

    chain = [make(noting), make(refusing, kind), Recording("inside", served)]
    handlers: dict[str, Any] = dict.fromkeys(PATTERNS, never)
    async with asking(face, **{side: {"interceptors": chain}}, **handlers) as (ask):
        with pytest.raises(gyr.PermissionDenied, match="not you") as caught:
            await ask(pattern, b"a")
    assert caught.value.details == (StringValue(value="why"),)
    assert caught.value.trailing_metadata["realm"] == "x"
    assert events == ["PERMISSION_DENIED not you"]
    assert served == []


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("side", "kind", "face"), ALIKE)
async def test_one_answers_and_the_call_goes_no_further(
    side: str, kind: str, face: str, pattern: str
) -> None:
    events: list[str] = []
    served: list[str] = []
    known = [message(b"kept %d" % n) for n in range(len(REPLIES[pattern]))]

    def answering(call: gyr.InterceptedCall) -> gyr.Interception:
        call.answer(*known, trailing_metadata={"from": "memory"})
        return
        yield

    chain = [Recording("A", events), make(answering, kind), Recording("inside", served)]
    async with asking(face, **{side: {"interceptors": chain}}, **HANDLERS) as ask:
        assert await ask(pattern, b"a") == [one.value + b"A" for one in known]
    assert events == ["A in", *(f"A reply {one.value.decode()}" for one in known), "A OK"]
    assert served == []


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("side", "kind", "face"), ALIKE)
async def test_one_takes_the_place_of_an_error_with_an_answer(
    side: str, kind: str, face: str, pattern: str
) -> None:
    def falling_back(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        if outcome.code is gyr.StatusCode.NOT_FOUND:
            call.answer(message(b"default"))

    async def failing(request: Any, ctx: gyr.ServerContext) -> Any:
        raise gyr.NotFound("nothing")

    handlers: dict[str, Any] = dict.fromkeys(PATTERNS, failing)
    options = {side: {"interceptors": [make(falling_back, kind)]}}
    async with asking(face, **options, **handlers) as ask:
        assert await ask(pattern, b"a") == [b"default"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("side", "kind", "face"), ALIKE)
async def test_one_replaces_the_status_of_a_call_that_went_well(
    side: str, kind: str, face: str, pattern: str
) -> None:
    def objecting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        assert outcome.code is gyr.StatusCode.OK
        assert outcome.error is None
        raise gyr.Aborted("on second thoughts")

    options = {side: {"interceptors": [make(objecting, kind)]}}
    async with asking(face, **options, **HANDLERS) as ask:
        with pytest.raises(gyr.Aborted, match="on second thoughts"):
            await ask(pattern, b"a")


@pytest.mark.parametrize("hook", ["request", "reply"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("side", "kind", "face"), ALIKE)
async def test_a_message_may_be_refused(
    side: str, kind: str, face: str, pattern: str, hook: str
) -> None:
    seen: list[str] = []

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        seen.append(outcome.code.name)

    def refuse(self: Any, call: gyr.InterceptedCall, message: Any) -> Any:
        raise gyr.InvalidArgument(f"no {message.value.decode()}")

    refusing = type("Refusing", (gyr.Interceptor,), {hook: refuse})()
    options = {side: {"interceptors": [make(noting, kind), refusing]}}
    async with asking(face, **options, **HANDLERS) as ask:
        with pytest.raises(gyr.InvalidArgument, match="no a"):
            await ask(pattern, b"a")
    assert seen == ["INVALID_ARGUMENT"]


async def test_trailing_metadata_may_be_added_on_both_sides() -> None:
    class Adding(gyr.Interceptor):
        def __init__(self, key: str) -> None:
            self.key = key

        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            outcome = yield
            outcome.trailing_metadata[self.key] = "here"

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.trailing_metadata["handler"] = "here"
        if request.value == b"fail":
            raise gyr.NotFound("gone", trailing_metadata={"error": "here"})
        return request

    async with serving(
        {"interceptors": [Adding("server")]}, {"interceptors": [Adding("client")]}, unary=unary
    ) as stub:
        call = stub.unary(message())
        await call
        trailing = await call.trailing_metadata()
        assert sorted(trailing.keys()) == ["client", "handler", "server"]
        with pytest.raises(gyr.NotFound) as caught:
            await stub.unary(message(b"fail"))
        found = caught.value.trailing_metadata
        assert sorted(found.keys()) == ["client", "error", "handler", "server"]


async def test_metadata_and_what_else_they_know_of_a_call() -> None:
    seen: list[dict[str, Any]] = []

    def looking(call: gyr.InterceptedCall) -> gyr.Interception:
        remaining = call.time_remaining()
        known = {
            "method": call.method,
            "pattern": call.pattern,
            "is_client": call.is_client,
            "given": call.metadata.get("given"),
            "in time": remaining is not None and 0 < remaining <= 30,
            "deadline": call.deadline is not None,
            "request": call.request,
            "attempt": call.attempt,
        }
        seen.append(known)
        call.metadata["added"] = "client" if call.is_client else "server"
        yield
        known["peer"] = str(call.peer).partition(":")[0]

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(str(ctx.metadata["added"]).encode())

    interceptors = {"interceptors": [make(looking)]}
    async with serving(interceptors, interceptors, unary=unary, bidi=HANDLERS["bidi"]) as stub:
        reply = await stub.unary(message(b"q"), metadata={"given": "1"}, timeout=30)
        assert reply.value == b"server"
        assert await collect(stub.bidi([message()])) == [b""]
    known = {
        "method": "/tests.Calls/Unary",
        "pattern": gyr.Pattern.UNARY_UNARY,
        "given": "1",
        "in time": True,
        "deadline": True,
        "request": message(b"q"),
        "attempt": 0,
        "peer": "ipv4",
    }
    assert seen[:2] == [{**known, "is_client": True}, {**known, "is_client": False}]
    assert [one["request"] for one in seen[2:]] == [None, None]
    assert [one["deadline"] for one in seen[2:]] == [False, False]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_the_handler_has_the_context_of_the_server_s_interceptors(
    pattern: str, kind: str
) -> None:
    def setting(call: gyr.InterceptedCall) -> gyr.Interception:
        token = WHO.set("the interceptor")
        yield
        # The same context still: the token fits, and what the handler set is seen.
        seen.append(WHO.get())
        WHO.reset(token)

    seen: list[str] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(WHO.get())
        WHO.set("the handler")
        return request

    async def stream(request: Any, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        seen.append(WHO.get())
        WHO.set("the handler")
        yield message()

    async def client_stream(requests: Any, ctx: gyr.ServerContext) -> BytesValue:
        return await unary(await anext(requests), ctx)

    handlers: dict[str, Any] = {
        "unary": unary,
        "server_stream": stream,
        "client_stream": client_stream,
        "bidi": stream,
    }
    options = {"interceptors": [make(setting, kind)]}
    async with asking("asyncio", options, **handlers) as ask:
        await ask(pattern, b"a")
    assert seen == ["the interceptor", "the handler"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_a_def_handler_has_it_in_its_thread(pattern: str, kind: str) -> None:
    seen: list[str] = []
    threads = set()

    def setting(call: gyr.InterceptedCall) -> gyr.Interception:
        token = WHO.set("the interceptor")
        yield
        seen.append(WHO.get())
        WHO.reset(token)

    def note() -> None:
        threads.add(threading.current_thread())
        seen.append(WHO.get())
        WHO.set("the handler")

    def unary(request: Any, ctx: gyr.ServerContext) -> BytesValue:
        note()
        if pattern == "client_stream":
            request = next(request)
        return BytesValue(value=request.value)

    def stream(request: Any, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        note()
        if pattern == "bidi":
            request = next(request)
        yield request

    handler: Any = unary if pattern in ("unary", "client_stream") else stream
    passing = Recording("P", [])
    options = {"interceptors": [make(setting, kind), passing]}
    async with asking("asyncio", options, **{pattern: handler}) as ask:
        assert await ask(pattern, b"a") == [b"aPP"]
    assert seen == ["the interceptor", "the handler"]
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_def_handler_s_request_is_read_where_it_is_looked_at(
    kind: str, looks: bool
) -> None:
    seen: list[Any] = []
    threads: dict[str, threading.Thread] = {}

    def looking(call: gyr.InterceptedCall) -> gyr.Interception:
        if looks:
            seen.append(call.request)
        yield
        seen.append(call.request)

    class Passing(gyr.Interceptor):
        def request(self, call: gyr.InterceptedCall, message: Any) -> Any:
            threads["hook"] = threading.current_thread()
            return BytesValue(value=message.value + b"!")

    def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        threads["handler"] = threading.current_thread()
        return request

    options = {"interceptors": [make(looking, kind), Passing()]}
    async with serving(options, unary=handler) as stub:
        assert await stub.unary(message(b"a")) == message(b"a!")
    assert seen == [message(b"a")] * (2 if looks else 1)
    main = threading.main_thread()
    assert (threads["hook"] is main, threads["handler"] is main) == (looks, False)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_s_interceptors_run_in_a_copy_of_its_context(kind: str) -> None:
    def looking(call: gyr.InterceptedCall) -> gyr.Interception:
        seen.append(WHO.get())
        token = WHO.set("the interceptor")
        yield
        seen.append(WHO.get())
        WHO.reset(token)

    seen: list[str] = []
    WHO.set("the caller")
    async with serving(
        None, {"interceptors": [make(looking, kind)]}, unary=HANDLERS["unary"]
    ) as stub:
        await stub.unary(message())
    assert WHO.get() == "the caller"
    assert seen == ["the caller", "the interceptor"]


@pytest.mark.parametrize("kind", KINDS)
async def test_another_error_on_the_server_is_logged_and_not_told(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        seen.append(outcome.code.name)

    def failing(call: gyr.InterceptedCall) -> gyr.Interception:
        if call.request.value == b"before":
            raise KeyError("secret")
        yield
        raise KeyError("secret")

    options = {"interceptors": [make(noting, kind), make(failing, kind)]}
    async with serving(options, unary=HANDLERS["unary"]) as stub:
        for when in (b"before", b"after"):
            with pytest.raises(gyr.Unknown) as caught:
                await stub.unary(message(when))
            assert "secret" not in str(caught.value)
    assert seen == ["UNKNOWN", "UNKNOWN"]
    failures = [record for record in caplog.records if "an interceptor failed" in record.message]
    assert [record.exc_info[0] for record in failures if record.exc_info] == [KeyError, KeyError]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_another_error_on_the_client_is_raised_as_it_is(pattern: str, face: str) -> None:
    seen: list[BaseException | None] = []
    error = KeyError("mine")

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        seen.append(outcome.error)

    def failing(call: gyr.InterceptedCall) -> gyr.Interception:
        if "before" in call.metadata:
            raise error
        yield
        raise error

    options = {"interceptors": [make(noting), make(failing)]}
    async with asking(face, None, options, **HANDLERS) as ask:
        for metadata in ({"before": "1"}, None):
            with pytest.raises(KeyError) as caught:
                await ask(pattern, b"a", metadata=metadata)
            assert caught.value is error
    assert seen == [error, error]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_neither_yields_nor_answers_is_named(
    side: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def forgetful(call: gyr.InterceptedCall) -> gyr.Interception:
        if call.deadline:
            yield

    options = {side: {"interceptors": [make(forgetful, kind)]}}
    async with asking("asyncio", **options, **HANDLERS) as ask:
        with pytest.raises((RuntimeError, gyr.Unknown)) as caught:
            await ask("unary", b"a")
    expected = "returned before its `yield` and without call.answer(...): /tests.Calls/Unary"
    assert expected in (str(caught.value) if side == "channel_options" else caplog.text)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["yields after its answer", "yields a value", "too many replies"])
async def test_misuse_is_a_clear_error(
    side: str, kind: str, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    def misusing(call: gyr.InterceptedCall) -> gyr.Interception:
        if wrong == "yields after its answer":
            call.answer(message())
        elif wrong == "yields a value":
            yield gyr.Retry()
        else:
            call.answer(message(), message())
        yield

    said = {
        "yields after its answer": "it must return, not yield",
        "yields a value": "the first `yield` is without a value",
        "too many replies": "has one reply; 2 were given to answer",
    }[wrong]
    options = {side: {"interceptors": [make(misusing, kind)]}}
    async with asking("asyncio", **options, **HANDLERS) as ask:
        with pytest.raises((RuntimeError, gyr.Unknown)) as caught:
            await ask("unary", b"a")
    assert said in (str(caught.value) if side == "channel_options" else caplog.text)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_does_not_make_calls_again(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    retryable: list[bool] = []

    def again(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        retryable.append(outcome.retryable)
        yield

    async with serving({"interceptors": [make(again, kind)]}, unary=HANDLERS["unary"]) as stub:
        with pytest.raises(gyr.Unknown):
            await stub.unary(message())
    assert retryable == [False]
    assert "yielded again: only clients make calls again" in caplog.text


async def test_a_method_that_is_not_there_is_no_interceptor_s_business() -> None:
    events: list[str] = []
    async with serving({"interceptors": [Recording("A", events)]}) as stub:
        with pytest.raises(gyr.Unimplemented):
            await stub.unary(message())
    assert events == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_server_s_outcome_of_a_call_that_the_client_cancelled(kind: str) -> None:
    over = asyncio.Event()
    waiting = asyncio.Event()
    seen: list[str] = []

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        seen.append(f"{outcome.code.name}: {outcome.message}")
        over.set()

    async def never(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        waiting.set()
        await asyncio.Event().wait()
        return request

    async with serving({"interceptors": [make(noting, kind)]}, unary=never) as stub:
        call = stub.unary(message())
        await waiting.wait()
        call.cancel()
        await over.wait()
    assert seen == ["CANCELLED: the client cancelled the call or is gone"]


async def test_a_stream_that_fails_keeps_the_replies_that_came_before() -> None:
    async def failing(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"1")
        yield message(b"2")
        raise gyr.NotFound("no third")

    events: list[str] = []
    chain = {"interceptors": [Recording("A", events)]}
    async with serving(chain, chain, server_stream=failing) as stub:
        found, error = await collect_failing(stub.server_stream(message()))
    assert found == [b"1AA", b"2AA"]
    assert (error.code, error.message) == (gyr.StatusCode.NOT_FOUND, "no third")
    assert events.count("A NOT_FOUND") == 2


@pytest.mark.parametrize(
    ("interceptors", "said"),
    [
        (Recording("A", []), "pass a list of gyrfalcon.Interceptor"),
        ([Recording], "pass an instance, not the class"),
        ([object()], "is no gyrfalcon.Interceptor"),
        (7, "pass a list of gyrfalcon.Interceptor"),
    ],
)
def test_what_is_no_interceptor_is_refused(interceptors: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        gyr.Channel("127.0.0.1:1", interceptors=interceptors)
    with pytest.raises(TypeError, match=said):
        gyr.Server([], interceptors=interceptors)


def test_one_without_a_yield_is_refused() -> None:
    class Plain(gyr.Interceptor):
        def intercept(self, call: Any) -> Any:
            return None

    class Coroutine(gyr.Interceptor):
        async def intercept(self, call: Any) -> Any:  # type: ignore[override]
            return None

    for wrong in (Plain(), Coroutine()):
        with pytest.raises(TypeError, match=r"\.intercept is no generator: it needs a `yield`"):
            gyr.Server([], interceptors=[wrong])


def test_a_blocking_channel_refuses_one_that_awaits() -> None:
    with pytest.raises(TypeError, match=r"RecordingAsync\.intercept is `async def`"):
        gyr.blocking.Channel("127.0.0.1:1", interceptors=[RecordingAsync("A", [])])


@pytest.mark.parametrize("after", [-1.0, float("nan"), float("inf")])
def test_a_pause_is_a_number_of_seconds(after: float) -> None:
    with pytest.raises(ValueError, match="seconds, not below 0"):
        gyr.Retry(after=after)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "gyrfalcon.server")
