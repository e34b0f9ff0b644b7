"""Calls that are made while another is served: its deadline, its end, its metadata."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import serve
from tests.blocking.service import BlockingStub
from tests.call.faces import HANDLERS
from tests.call.service import SAFETY_NET_S, Calls, Stub, message, serving

pytestmark = pytest.mark.anyio

MIDDLES = ("async def, asyncio", "def, blocking", "async def, a task", "def, another thread")


@asynccontextmanager
async def chain(middle: str, last: Any) -> AsyncIterator[Stub]:
    """Three hops: what is returned calls a handler that calls a handler that calls `last`."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(SAFETY_NET_S))
        target = await stack.enter_async_context(_served(last))
        for _ in range(2):
            handler = await stack.enter_async_context(_forwarding(middle, target))
            target = await stack.enter_async_context(_served(handler))
        yield Stub(target.channel())


@asynccontextmanager
async def _served(handler: Any) -> AsyncIterator[Any]:
    served = serve(Calls(unary=handler))
    async with served:
        yield served


@asynccontextmanager
async def _forwarding(middle: str, served: Any) -> AsyncIterator[Any]:
    if middle.startswith("async def"):
        stub = Stub(served.channel())

        async def forward(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            if middle.endswith("task"):
                return await asyncio.create_task(_awaited(stub.unary(request)))
            return await stub.unary(request)

        yield forward
        return
    blocking = BlockingStub(served.blocking_channel())

    def forward_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if middle.endswith("thread"):
            return _in_another_thread(lambda: blocking.unary(request))
        return blocking.unary(request)

    yield forward_in_thread


async def _awaited(call: gyr.UnaryUnaryCall[BytesValue]) -> BytesValue:
    return await call


def _in_another_thread(function: Callable[[], BytesValue]) -> BytesValue:
    """With the context copied along, as asyncio.to_thread does."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(context.run(function))
        except gyr.RpcError as error:
            found.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("middle", MIDDLES)
async def test_the_last_of_three_hops_sees_less_than_the_first_gave(middle: str) -> None:
    left: list[float | None] = []

    async def last(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        left.append(ctx.time_remaining())
        return request

    async with chain(middle, last) as stub:
        call = stub.unary(message(b"x"), timeout=SAFETY_NET_S)
        assert (await call).value == b"x"
        first = call.time_remaining()
        await stub.unary(message(b"x"))
    assert first is not None
    # It was asked before the reply was here, so what was left then is more; and less than all.
    assert left[0] is not None
    assert first < left[0] < SAFETY_NET_S
    assert left[1] is None


@pytest.mark.parametrize("middle", MIDDLES)
async def test_cancelling_the_first_call_cancels_the_third_handler(middle: str) -> None:
    began = asyncio.Event()
    cancelled = asyncio.Event()

    async def last(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    async with chain(middle, last) as stub:
        call = stub.unary(message())
        await began.wait()
        call.cancel()
        await cancelled.wait()


@pytest.mark.parametrize("middle", MIDDLES)
async def test_the_deadline_of_the_first_call_ends_the_third_handler(middle: str) -> None:
    cancelled = asyncio.Event()

    async def last(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return request

    async with chain(middle, last) as stub:
        with pytest.raises(gyr.DeadlineExceeded):
            await stub.unary(message(), timeout=0.5)
        await cancelled.wait()


@asynccontextmanager
async def nested(
    handler: Callable[[Stub], Any], **options: Any
) -> AsyncIterator[tuple[Stub, list[dict[str, Any]]]]:
    """A stub of a server whose handler makes calls; and what the server that it calls notes."""
    notes: list[dict[str, Any]] = []

    async def inner(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        notes.append({"remaining": ctx.time_remaining(), "metadata": ctx.metadata})
        if request.value == b"wait":
            await asyncio.Event().wait()
        return request

    async with (
        serving(None, options, unary=inner) as below,
        serving(unary=handler(below)) as stub,
    ):
        yield stub, notes


async def test_a_shorter_timeout_of_its_own_stays() -> None:
    def calling(below: Stub) -> Any:
        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return await below.unary(request, timeout=float(request.value))

        return handler

    async with nested(calling) as (stub, notes):
        await stub.unary(message(b"5"), timeout=20)
        await stub.unary(message(b"50"), timeout=20)
        await stub.unary(message(b"50"))
    bounds = (5, 20, 50)
    assert [one["remaining"] <= bound for one, bound in zip(notes, bounds, strict=True)] == [
        True
    ] * 3
    assert notes[1]["remaining"] > 5
    assert notes[2]["remaining"] > 20


async def test_detached_calls_have_no_bound() -> None:
    def calling(below: Stub) -> Any:
        @gyr.detach()
        async def decorated(request: BytesValue) -> BytesValue:
            return await below.unary(request)

        @gyr.detach()
        def made(request: BytesValue) -> gyr.UnaryUnaryCall[BytesValue]:
            return below.unary(request)

        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            with gyr.detach():
                await below.unary(request)
            await decorated(request)
            await made(request)
            return await below.unary(request)

        return handler

    async with nested(calling) as (stub, notes):
        await stub.unary(message(), timeout=20)
    assert [one["remaining"] is None for one in notes] == [True, True, True, False]


def test_a_generator_cannot_be_detached_as_a_whole() -> None:
    with pytest.raises(TypeError, match=r"cannot decorate the generator .*numbers"):

        @gyr.detach()
        def numbers() -> Iterator[int]:
            yield 1


async def test_a_call_that_its_handler_left_behind_is_cancelled_and_a_detached_one_goes_on() -> (
    None
):
    left: list[gyr.UnaryUnaryCall[BytesValue]] = []

    def calling(below: Stub) -> Any:
        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            left.append(below.unary(message(b"wait")))
            with gyr.detach():
                left.append(below.unary(message(b"wait")))
            return request

        return handler

    async with nested(calling) as (stub, _):
        await stub.unary(message())
        with pytest.raises(gyr.Cancelled, match=r"made in gyrfalcon\.detach\(\)"):
            await left[0]
        assert not left[1].done()
        left[1].cancel()


async def test_a_call_after_the_end_of_what_was_served_is_cancelled() -> None:
    returned = asyncio.Event()
    outcomes: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    def calling(below: Stub) -> Any:
        async def later(request: BytesValue) -> None:
            await returned.wait()
            try:
                await below.unary(request)
            except gyr.Cancelled as error:
                outcomes.append(error.message)
            with gyr.detach():
                outcomes.append((await below.unary(request)).value.decode())

        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            tasks.append(asyncio.create_task(later(request)))
            return request

        return handler

    async with nested(calling) as (stub, _):
        await stub.unary(message(b"x"))
        returned.set()
        await tasks[0]
    assert outcomes[0].startswith("the handler has returned in which the call was made")
    assert outcomes[1:] == ["x"]


async def test_a_child_ends_like_its_parent() -> None:
    ended = asyncio.Event()

    def calling(below: Stub) -> Any:
        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            call = below.unary(message(b"wait"))

            def over(call: Any) -> None:
                status.append(call)
                ended.set()

            call.add_done_callback(over)
            await asyncio.Event().wait()
            return request

        return handler

    status: list[gyr.UnaryUnaryCall[BytesValue]] = []
    async with nested(calling) as (stub, _):
        with pytest.raises(gyr.DeadlineExceeded):
            await stub.unary(message(), timeout=0.3)
        await ended.wait()
        found = await status[0].status()
    # CANCELLED where the reset of the caller, whose deadline is the same, came before the timer.
    assert found.code in (gyr.StatusCode.DEADLINE_EXCEEDED, gyr.StatusCode.CANCELLED)


async def test_chosen_metadata_travels() -> None:
    def calling(below: Stub) -> Any:
        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            await below.unary(request)
            await below.unary(request, metadata={"x-tenant": "own", "other": "1"})
            with gyr.detach():
                return await below.unary(request)

        return handler

    given: dict[str, Any] = {"x-tenant": ["eu", "us"], "trace-bin": b"\x00", "secret": "s"}
    async with nested(calling, propagate=["X-Tenant", "trace-bin"]) as (stub, notes):
        await stub.unary(message(), metadata=given)
    found = [
        [(key, value) for key, value in one["metadata"].items() if key != "user-agent"]
        for one in notes
    ]
    assert found == [
        [("x-tenant", "eu"), ("x-tenant", "us"), ("trace-bin", b"\x00")],
        [("x-tenant", "own"), ("other", "1"), ("trace-bin", b"\x00")],
        [],
    ]


async def test_what_a_server_s_interceptor_adds_travels_too() -> None:
    class Identifying(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            if "x-request-id" not in call.metadata:
                call.metadata["x-request-id"] = "made up"
            yield

    seen: list[object] = []

    async def inner(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(ctx.metadata.get("x-request-id"))
        return request

    async with serving(None, {"propagate": ["x-request-id"]}, unary=inner) as below:

        async def handler(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return await below.unary(request)

        async with serving({"interceptors": [Identifying()]}, unary=handler) as stub:
            await stub.unary(message())
    assert seen == ["made up"]


@pytest.mark.parametrize(
    ("propagate", "error", "said"),
    [
        ("x-id", TypeError, "pass a list of metadata keys"),
        (["grpc-timeout"], ValueError, "is reserved for the protocol"),
        (["x id"], ValueError, "characters that cannot be sent"),
    ],
)
def test_what_cannot_travel_is_refused(propagate: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        gyr.Channel("127.0.0.1:1", propagate=propagate)


async def test_calls_outside_of_any_handler_have_no_bound() -> None:
    async with serving(unary=HANDLERS["unary"]) as stub:
        call = stub.unary(message())
        assert call.deadline is None
        await call
