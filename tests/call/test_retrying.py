"""Interceptors of a client that make a call again, and those whose call nobody waits for."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.faces import HANDLERS
from tests.call.service import collect, collect_failing, message, serving
from tests.call.test_interceptors import KINDS, Recording, make

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("kind", KINDS)]


def again_until_ok(call: gyr.InterceptedCall) -> gyr.Interception:
    outcome = yield
    while outcome.code is not gyr.StatusCode.OK:
        outcome = yield


def options(*interceptors: gyr.Interceptor) -> dict[str, Any]:
    return {"channel_options": {"interceptors": interceptors}}


async def test_those_further_in_begin_anew_and_those_further_out_see_the_last(kind: str) -> None:
    events: list[str] = []
    told: list[object] = []
    tries = 0

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        nonlocal tries
        told.append(ctx.metadata.get("grpc-previous-rpc-attempts"))
        tries += 1
        if tries < 3:
            raise gyr.Unavailable("not now")
        return request

    chain = (Recording("A", events), make(again_until_ok, kind), Recording("B", events))
    async with serving(**options(*chain), unary=unary) as stub:
        reply = await stub.unary(message(b"x"))
    assert reply.value == b"xABBA"
    assert told == [None, "1", "2"]
    assert events == [
        "A in",
        "B in",
        "A request x",
        "B request xA",
        "B UNAVAILABLE",
        "B in",
        "B UNAVAILABLE",
        "B in",
        "B reply xAB",
        "B OK",
        "A reply xABB",
        "A OK",
    ]


async def test_the_call_object_outlives_its_attempts(kind: str) -> None:
    tries = 0
    done: list[gyr.Call] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        nonlocal tries
        tries += 1
        await ctx.send_initial_metadata({"try": str(tries)})
        if tries < 3:
            raise gyr.Unavailable("not now")
        ctx.trailing_metadata["tries"] = str(tries)
        return request

    async with serving(**options(make(again_until_ok, kind)), unary=unary) as stub:
        call = stub.unary(message(b"x"))
        over = asyncio.Event()
        call.add_done_callback(done.append)
        call.add_done_callback(lambda call: over.set())
        assert (await call).value == b"x"
        assert (await call.initial_metadata())["try"] == "3"
        assert (await call.trailing_metadata())["tries"] == "3"
        assert await call.status() == gyr.Status(gyr.StatusCode.OK)
        await over.wait()
    assert done == [call]


@pytest.mark.parametrize("size", [0, 1000])
async def test_a_stream_of_requests_goes_out_again(kind: str, size: int) -> None:
    came: list[list[bytes]] = []

    async def client_stream(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        came.append([])
        async for one in requests:
            came[-1].append(one.value)
            if len(came) < 3 and len(came[-1]) == len(came):
                # After one request the first time, after two the second.
                raise gyr.Unavailable("not now")
        return message(b"%d" % len(came[-1]))

    sent = [b"%d" % n + b"x" * size for n in range(10)]
    async with serving(**options(make(again_until_ok, kind)), client_stream=client_stream) as stub:
        assert (await stub.client_stream(message(one) for one in sent)).value == b"10"
        assert came == [sent[:1], sent[:2], sent]
        came.clear()
        async with stub.client_stream() as call:
            for one in sent:
                await call.send(message(one))
            assert (await call).value == b"10"
        assert came[-1] == sent


async def test_more_requests_than_are_kept_are_not_sent_again(kind: str) -> None:
    async def client_stream(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        async for _ in requests:
            pass
        raise gyr.Unavailable("not now")

    retryable: list[bool] = []

    def again(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        retryable.append(outcome.retryable)
        yield

    async with serving(**options(make(again, kind)), client_stream=client_stream) as stub:
        with pytest.raises(RuntimeError, match="more than 262144 bytes of requests were sent"):
            await stub.client_stream(message(b"x" * 65536) for _ in range(5))
    assert retryable == [False]


async def test_nothing_is_made_again_after_a_reply_was_handed_over(kind: str) -> None:
    async def server_stream(
        request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        yield message(b"1")
        await taken.wait()
        raise gyr.Unavailable("not now")

    taken = asyncio.Event()
    retryable: list[bool] = []

    def again(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        retryable.append(outcome.retryable)

    async with serving(**options(make(again, kind)), server_stream=server_stream) as stub:
        call = stub.server_stream(message())
        assert await call.receive() == message(b"1")
        taken.set()
        _, error = await collect_failing(call)
    assert error.code is gyr.StatusCode.UNAVAILABLE
    assert retryable == [False]


async def test_replies_of_a_failed_attempt_are_dropped_with_it(kind: str) -> None:
    tries = 0

    async def server_stream(
        request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        nonlocal tries
        tries += 1
        yield message(b"%d" % tries)
        if tries < 3:
            raise gyr.Unavailable("not now")

    async with serving(**options(make(again_until_ok, kind)), server_stream=server_stream) as stub:
        call = stub.server_stream(message())
        # Nobody takes a reply before the call is over.
        await call.status()
        assert await collect(call) == [b"3"]


async def test_a_cancelled_call_is_not_made_again(kind: str) -> None:
    outcomes: list[tuple[str, bool]] = []
    entered = asyncio.Event()
    over = asyncio.Event()

    def again(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        outcomes.append((outcome.code.name, outcome.retryable))
        over.set()

    async def never(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        entered.set()
        await asyncio.Event().wait()
        return request

    async with serving(**options(make(again, kind)), unary=never) as stub:
        call = stub.unary(message())
        await entered.wait()
        assert call.cancel() is True
        assert call.done()
        with pytest.raises(gyr.Cancelled):
            await call
        await over.wait()
    assert outcomes == [("CANCELLED", False)]


@pytest.mark.parametrize("way", ["cancel", "deadline"])
async def test_a_pause_ends_with_its_call(kind: str, way: str) -> None:
    outcomes: list[str] = []
    paused = asyncio.Event()
    over = asyncio.Event()

    def later(call: gyr.InterceptedCall) -> gyr.Interception:
        yield
        paused.set()
        outcome = yield gyr.Retry(after=3600)
        outcomes.append(outcome.code.name)
        over.set()

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.Unavailable("not now")

    async with serving(**options(make(later, kind)), unary=unary) as stub:
        call = stub.unary(message(), timeout=0.3 if way == "deadline" else None)
        await paused.wait()
        await asyncio.sleep(0)
        if way == "cancel":
            call.cancel()
        with pytest.raises((gyr.Cancelled, gyr.DeadlineExceeded)):
            await call
        await over.wait()
    assert outcomes == ["DEADLINE_EXCEEDED" if way == "deadline" else "CANCELLED"]


async def test_a_call_that_could_not_connect_is_made_again(kind: str) -> None:
    tries = 0

    def three_times(call: gyr.InterceptedCall) -> gyr.Interception:
        nonlocal tries
        outcome = yield
        while outcome.retryable and tries < 2:
            tries += 1
            outcome = yield gyr.Retry()

    async with (
        asyncio.timeout(30),
        gyr.Channel("unix:/nonexistent/socket", interceptors=[make(three_times, kind)]) as channel,
    ):
        method = gyr.UnaryUnary[BytesValue, BytesValue](
            channel,
            gyr.Method("s.S", "M", "m", gyr.Pattern.UNARY_UNARY, BytesValue, BytesValue),
        )
        with pytest.raises(gyr.Unavailable):
            await method(message())
    assert tries == 2


async def test_a_call_that_nobody_holds_has_its_outcome(kind: str) -> None:
    seen: list[str] = []
    over = asyncio.Event()

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        seen.append(f"{call.method} {outcome.code.name}")
        over.set()

    async def never(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        entered.set()
        await asyncio.Event().wait()
        return request

    entered = asyncio.Event()
    async with serving(**options(make(noting, kind)), unary=never) as stub:
        call = stub.unary(message())
        await entered.wait()
        del call
        gc.collect()
        await over.wait()
    assert seen == ["/tests.Calls/Unary CANCELLED"]


async def test_a_stream_that_nobody_reads_has_its_outcome(kind: str) -> None:
    seen: list[str] = []
    over = asyncio.Event()

    def noting(call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        seen.append(outcome.code.name)
        over.set()

    async with serving(
        **options(make(noting, kind)), server_stream=HANDLERS["server_stream"]
    ) as stub:
        call = stub.server_stream(message(b"a"))
        await over.wait()
        assert seen == ["OK"]
        assert await collect(call) == [b"a", b"a"]


async def test_an_interceptor_may_cancel_its_call(kind: str) -> None:
    def cancelling(call: gyr.InterceptedCall) -> gyr.Interception:
        call.cancel()
        yield

    inside: list[str] = []
    chain = (make(cancelling, kind), Recording("inside", inside))
    async with serving(**options(*chain), unary=HANDLERS["unary"]) as stub:
        with pytest.raises(gyr.Cancelled, match="an interceptor cancelled the call"):
            await stub.unary(message())
    assert inside == []
