"""Error details between Gyrfalcon and grpcio-status, which compares them with the status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio
import grpc_status.rpc_status
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BytesValue
from google.rpc import error_details_pb2, status_pb2

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, SERVER_STREAM, UNARY, Calls, Stub, collect, message

pytestmark = pytest.mark.anyio

REASON = error_details_pb2.ErrorInfo(
    reason="OUT_OF_STOCK", domain="shop.example", metadata={"item": "Grüße"}
)
PAUSE = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3))
VIOLATION = error_details_pb2.BadRequest(
    field_violations=[
        error_details_pb2.BadRequest.FieldViolation(field="items[0]", description="100% gone")
    ]
)
UNKNOWN = AnyMessage(type_url="type.example/nobody.knows.This", value=b"\x08\x01")
DETAILS: tuple[Message, ...] = (REASON, PAUSE, VIOLATION, UNKNOWN)
TEXTS = ["nothing left: 100% & 'gone'", "Grüezi 🏔\n", "", "long " * 5000]


def unpack(packed: AnyMessage, expected: Message) -> Message:
    """A detail of a google.rpc.Status as the type that it should be."""
    if isinstance(expected, AnyMessage):
        return packed
    found = type(expected)()
    assert packed.Unpack(found)
    return found


# ---------------------------------------------------------------------- theirs reads ours

Ask = Callable[[int, gyr.Method[Any, Any]], Coroutine[Any, Any, Any]]


async def ask_aio(port: int, method: gyr.Method[Any, Any]) -> Any:
    """What grpc_status finds in a failed call of grpc.aio."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        make: Any = getattr(channel, method.pattern.name.lower())
        call = make(method.path)(b"")
        with pytest.raises(grpc.aio.AioRpcError):
            await (collect_bytes(call) if method is SERVER_STREAM else call)
        return await grpc_status.rpc_status.aio.from_call(call)


async def collect_bytes(replies: Any) -> list[bytes]:
    return [reply async for reply in replies]


async def ask_blocking(port: int, method: gyr.Method[Any, Any]) -> Any:
    """What grpc_status finds in a failed call of grpcio's blocking API."""

    def ask() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            make: Any = getattr(channel, method.pattern.name.lower())
            call = make(method.path)
            try:
                found = list(call(b"")) if method is SERVER_STREAM else call(b"")
            except grpc.RpcError as error:
                failed: Any = error  # which is the call, too
                return grpc_status.rpc_status.from_call(failed)
            raise AssertionError(f"the call did not fail, but gave {found!r}")

    with ThreadPoolExecutor(1) as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, ask)


@asynccontextmanager
async def failing(error: gyr.RpcError) -> AsyncIterator[int]:
    async def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise error

    async def fail_late(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"a reply before it")
        raise error

    service = Calls(unary=fail, server_stream=fail_late)
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([service]) as server:
        yield await server.listen("127.0.0.1:0")


@pytest.mark.parametrize("ask", [ask_aio, ask_blocking])
@pytest.mark.parametrize("method", [UNARY, SERVER_STREAM], ids=lambda method: method.name)
@pytest.mark.parametrize("text", TEXTS, ids=["plain", "unicode", "empty", "cut"])
async def test_details_of_gyrfalcon_are_read_by_grpcio_status(
    ask: Ask, method: gyr.Method[Any, Any], text: str
) -> None:
    async with failing(gyr.FailedPrecondition(text, details=DETAILS)) as port:
        status = await ask(port, method)
    assert isinstance(status, status_pb2.Status)
    assert status.code == 9
    assert text.startswith(status.message.removesuffix("..."))
    found = tuple(unpack(*pair) for pair in zip(status.details, DETAILS, strict=True))
    assert found == DETAILS


@pytest.mark.parametrize("ask", [ask_aio, ask_blocking])
async def test_a_status_with_too_many_details_arrives_with_the_first_of_them(ask: Ask) -> None:
    details = [error_details_pb2.DebugInfo(detail=f"{number} " * 200) for number in range(100)]
    async with failing(gyr.NotFound("gone " * 1000, details=details)) as port:
        # grpcio refuses some lists between its soft and its hard limit: it throws a die.
        for _ in range(5):
            status = await ask(port, UNARY)
            found = [unpack(*pair) for pair in zip(status.details, details, strict=False)]
            assert (status.code, found) == (5, details[: len(found)])
            assert len(found) > 5


async def test_an_error_without_details_has_none_for_grpcio_status() -> None:
    async with failing(gyr.NotFound("gone")) as port:
        assert await ask_aio(port, UNARY) is None


# ---------------------------------------------------------------------- ours reads theirs


def their_status(text: str) -> status_pb2.Status:
    status = status_pb2.Status(code=9, message=text)
    for detail in DETAILS:
        if isinstance(detail, AnyMessage):
            status.details.append(detail)
        else:
            status.details.add().Pack(detail)
    return status


@contextmanager
def blocking_server(text: str) -> Iterator[int]:
    """grpcio's own server, whose handlers end their calls with abort_with_status."""
    status = grpc_status.rpc_status.to_status(their_status(text))

    def fail(request: bytes, context: Any) -> bytes:
        context.abort_with_status(status)
        return b""

    def fail_late(request: bytes, context: Any) -> Iterator[bytes]:
        yield b""
        context.abort_with_status(status)

    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        handlers = {
            UNARY.name: grpc.unary_unary_rpc_method_handler(fail),
            SERVER_STREAM.name: grpc.unary_stream_rpc_method_handler(fail_late),
        }
        generic = grpc.method_handlers_generic_handler(UNARY.service, handlers)
        server.add_generic_rpc_handlers((generic,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait()


@pytest.mark.parametrize("text", TEXTS[:3], ids=["plain", "unicode", "empty"])
async def test_details_of_grpcio_status_are_read_by_gyrfalcon(text: str) -> None:
    with blocking_server(text) as port:
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            stub = Stub(channel)
            with pytest.raises(gyr.FailedPrecondition) as unary:
                await stub.unary(message())
            with pytest.raises(gyr.FailedPrecondition) as stream:
                await collect(stub.server_stream(message()))
            call = stub.unary(message())
            status = await call.status()
    for error in (unary.value, stream.value, status):
        assert (error.code, error.message, error.details) == (9, text, DETAILS)
