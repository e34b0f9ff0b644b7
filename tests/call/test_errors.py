"""How handlers fail, and what their callers get."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import UninterpretedOption
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value, StringValue

import gyrfalcon as gyr
from tests.call.service import METHODS, Stub, collect, collect_failing, message, serving

pytestmark = pytest.mark.anyio

ERRORS = [
    gyr.Cancelled, gyr.Unknown, gyr.InvalidArgument, gyr.DeadlineExceeded, gyr.NotFound,
    gyr.AlreadyExists, gyr.PermissionDenied, gyr.ResourceExhausted, gyr.FailedPrecondition,
    gyr.Aborted, gyr.OutOfRange, gyr.Unimplemented, gyr.Internal, gyr.Unavailable, gyr.DataLoss,
    gyr.Unauthenticated,
]  # fmt: skip


def raising(error: BaseException, *, threaded: bool = False) -> dict[str, Any]:
    """Handlers of all four patterns that raise it."""

    async def fail(request: Any, ctx: gyr.ServerContext) -> BytesValue:
        raise error

    async def fail_stream(request: Any, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        raise error
        yield message()

    def fail_in_thread(request: Any, ctx: gyr.ServerContext) -> BytesValue:
        raise error

    if threaded:
        return {method.attribute: fail_in_thread for method in METHODS}
    return {
        "unary": fail,
        "server_stream": fail_stream,
        "client_stream": fail,
        "bidi": fail_stream,
    }


async def failures(stub: Stub) -> list[gyr.RpcError]:
    """The errors of one call of each pattern."""
    found = []
    for call in (stub.unary(message()), stub.client_stream([])):
        with pytest.raises(gyr.RpcError) as caught:
            await call
        found.append(caught.value)
    for stream in (stub.server_stream(message()), stub.bidi([])):
        with pytest.raises(gyr.RpcError) as caught:
            await collect(stream)
        found.append(caught.value)
    return found


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "def"])
async def test_an_error_raised_there_is_raised_here(
    kind: type[gyr.RpcError], threaded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(**raising(kind("why"), threaded=threaded)) as stub:
        for error in await failures(stub):
            assert (type(error), error.message) == (kind, "why")
            assert error.code == kind.code
    assert caplog.records == []


async def test_an_error_says_what_was_called_and_where() -> None:
    async with serving(**raising(gyr.NotFound("no order '7'"))) as stub:
        errors = await failures(stub)
        peer = f"ipv4:{stub.served.target}"
        assert [str(error) for error in errors] == [
            f"NOT_FOUND: no order '7' (method /tests.Calls/{name}, peer {peer})"
            for name in ("Unary", "ClientStream", "ServerStream", "Bidi")
        ]


async def test_an_error_of_the_base_class_has_the_class_of_its_code() -> None:
    error = gyr.RpcError("why", code=gyr.StatusCode.ABORTED)
    async with serving(**raising(error)) as stub:
        assert [type(one) for one in await failures(stub)] == [gyr.Aborted] * 4


async def test_an_error_of_a_derived_class_has_the_class_of_its_code() -> None:
    class OutOfStock(gyr.FailedPrecondition):
        pass

    async with serving(**raising(OutOfStock("none left"))) as stub:
        assert [type(one) for one in await failures(stub)] == [gyr.FailedPrecondition] * 4


async def test_details_that_cannot_be_encoded_cost_the_details_and_not_the_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = uninterpreted_option()
    async with serving(**raising(gyr.NotFound("why", details=[broken]))) as stub:
        for error in await failures(stub):
            assert (type(error), error.message, error.details) == (gyr.NotFound, "why", ())
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 4
    assert "the details of NotFound cannot be encoded" in caplog.messages[0]


def uninterpreted_option() -> UninterpretedOption:
    """A message of proto2 that lacks its required fields."""
    return UninterpretedOption(name=[UninterpretedOption.NamePart()])


async def test_details_that_are_no_messages_are_an_error_of_the_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wrong(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.NotFound("why", details=["reason"])  # type: ignore[list-item]

    async with serving(unary=wrong) as stub:
        with pytest.raises(gyr.Unknown):
            await stub.unary(message())
    assert "'reason' is str" in caplog.text


@pytest.mark.parametrize("metadata", [{}, {"x": "y" * 6000}, {"x": "y" * 12_000}], ids=len)
@pytest.mark.parametrize("text", ["why", "long " * 5000], ids=["short", "long"])
async def test_of_too_many_details_the_first_arrive_and_the_log_says_so(
    text: str, metadata: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    details = [StringValue(value=f"{number:03}" + "d" * 100) for number in range(200)]
    error = gyr.NotFound(text, details=details, trailing_metadata=metadata)
    async with serving(**raising(error)) as stub:
        found = await failures(stub)
        for caught in found:
            assert type(caught) is gyr.NotFound
            assert text.startswith(caught.message.removesuffix("..."))
            assert len(caught.message) >= 3
            assert dict(caught.trailing_metadata.items()) == metadata
            assert caught.details == tuple(details[: len(caught.details)])
            if not metadata:
                assert len(caught.details) > 20
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
    dropped = 200 - len(found[-1].details)
    assert caplog.messages[-1].startswith(f"/tests.Calls/Bidi: {dropped} details of its NOT_FOUND")


async def test_details_of_another_servers_error_are_passed_on() -> None:
    details = [StringValue(value="é")]
    async with serving(**raising(gyr.NotFound("there", details=details))) as inner:

        async def ask(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            try:
                return await inner.unary(request)
            except gyr.NotFound as error:
                error.message = "through here"
                raise

        async with serving(unary=ask) as outer:
            with pytest.raises(gyr.NotFound, match="through here") as caught:
                await outer.unary(message())
            assert caught.value.details == tuple(details)


async def test_details_and_metadata_travel_with_the_error() -> None:
    details = [StringValue(value="é"), Int32Value(value=7)]
    error = gyr.NotFound(
        "no order", details=details, trailing_metadata={"shop": ["eu", "us"], "id-bin": b"\x00"}
    )
    async with serving(**raising(error)) as stub:
        for one in await failures(stub):
            assert one.details == tuple(details)
            assert one.trailing_metadata.items() == [
                ("shop", "eu"), ("shop", "us"), ("id-bin", b"\x00"),
            ]  # fmt: skip


async def test_the_contexts_trailing_metadata_comes_before_the_errors() -> None:
    async def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.trailing_metadata.add("from", "context")
        raise gyr.NotFound("no", trailing_metadata={"from": "error"})

    async with serving(unary=fail) as stub:
        with pytest.raises(gyr.NotFound) as caught:
            await stub.unary(message())
        assert caught.value.trailing_metadata.get_all("from") == ["context", "error"]


class Shutdown(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [ValueError("the secret"), SystemExit("the secret"), KeyboardInterrupt("the secret"),
     Shutdown("the secret"), TimeoutError("the secret")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "def"])
async def test_any_other_exception_is_unknown_and_logged_and_the_server_lives(
    error: BaseException, threaded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(**raising(error, threaded=threaded)) as stub:
        for one in await failures(stub):
            assert type(one) is gyr.Unknown
            assert "secret" not in one.message
        assert (await stub.unary(message()).status()).code == gyr.StatusCode.UNKNOWN
    for record in caplog.records:
        assert (record.name, record.levelno) == ("gyrfalcon.server", logging.ERROR)
        assert record.exc_info is not None
        logged = record.exc_info[1]
        assert (type(logged), str(logged)) == (type(error), "the secret")
        assert record.exc_info[2] is not None
    failed = sorted(record.getMessage().partition(":")[0] for record in caplog.records)
    assert failed == [
        "/tests.Calls/Bidi",
        "/tests.Calls/ClientStream",
        "/tests.Calls/ServerStream",
        "/tests.Calls/Unary",
        "/tests.Calls/Unary",
    ]


async def test_a_handler_that_cancels_itself_ends_the_call_as_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(**raising(asyncio.CancelledError())) as stub:
        assert [type(error) for error in await failures(stub)] == [gyr.Cancelled] * 4
    assert caplog.records == []


async def test_replies_before_the_error_arrive() -> None:
    async def fail(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"one")
        yield message(b"two")
        raise gyr.DataLoss("the rest")

    async with serving(server_stream=fail) as stub:
        call = stub.server_stream(message())
        replies, error = await collect_failing(call)
        assert (replies, type(error)) == ([b"one", b"two"], gyr.DataLoss)
        with pytest.raises(gyr.DataLoss, match="the rest"):
            await call.receive()


@pytest.mark.parametrize("reply", [None, b"bytes", "text", StringValue], ids=str)
async def test_a_reply_that_is_no_message_of_the_method_is_internal_and_logged(
    reply: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> Any:
        return reply

    async def stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[Any]:
        yield reply

    async with serving(unary=unary, server_stream=stream) as stub:
        with pytest.raises(gyr.Internal, match="BytesValue"):
            await stub.unary(message())
        with pytest.raises(gyr.Internal, match="BytesValue"):
            await collect(stub.server_stream(message()))
    assert len(caplog.records) == 2


async def test_a_request_that_is_no_message_of_the_method_is_refused_here() -> None:
    async with serving() as stub:
        with pytest.raises(TypeError, match=r"/tests.Calls/Unary takes BytesValue, not str"):
            stub.unary("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"/tests.Calls/Bidi takes a stream of requests"):
            stub.bidi(7)  # type: ignore[arg-type]


async def test_an_error_of_the_requests_source_ends_the_call_and_is_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = asyncio.Event()
    ended = asyncio.Event()

    async def read(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        try:
            return message(b"".join(await collect(requests)))
        finally:
            ended.set()

    async def source() -> AsyncIterator[BytesValue]:
        yield message(b"one")
        await started.wait()
        raise LookupError("no more")

    async with serving(client_stream=read) as stub:
        call = stub.client_stream(source())
        with pytest.raises(LookupError, match="no more"):
            await call
        await ended.wait()
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        wrong = stub.client_stream([message(b"one"), "two"])  # type: ignore[list-item]
        with pytest.raises(TypeError, match="takes BytesValue, not str"):
            await wrong
    assert caplog.records == []


async def test_a_method_that_is_not_overridden_is_unimplemented() -> None:
    async with serving() as stub:
        for error in await failures(stub):
            assert type(error) is gyr.Unimplemented
            assert "/tests.Calls/" in error.message


async def test_an_error_of_a_call_made_by_the_handler_passes_through() -> None:
    async with serving(**raising(gyr.OutOfRange("far", trailing_metadata={"at": "end"}))) as inner:

        async def ask(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return await inner.unary(request)

        async with serving(unary=ask) as outer:
            with pytest.raises(gyr.OutOfRange, match="far") as caught:
                await outer.unary(message())
            assert caught.value.trailing_metadata.items() == [("at", "end")]


async def test_an_error_may_be_raised_again_and_again() -> None:
    error = gyr.NotFound("always the same object")
    async with serving(**raising(error)) as stub:
        for _ in range(3):
            for one in await failures(stub):
                assert one is not error
                assert one.message == "always the same object"
