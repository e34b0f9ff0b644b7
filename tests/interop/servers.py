"""Servers of two makes behind one face: one handler, which each serves in all patterns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.rpc.codec import RAW
from tests.call.service import METHODS, SERVICE, Calls
from tests.interop.clients import COMPRESSIONS, Pair

# The same paths, with bytes that nobody looks at.
RAW_METHODS = tuple(
    gyr.Method(SERVICE, one.name, one.attribute, one.pattern, bytes, bytes, RAW) for one in METHODS
)


class Context(Protocol):
    """What a handler may know of its call, and do."""

    @property
    def metadata(self) -> list[Pair]: ...
    def time_remaining(self) -> float | None: ...
    async def send_initial(self, metadata: Iterable[Pair]) -> None: ...
    def set_trailing(self, metadata: Iterable[Pair]) -> None: ...
    def compress(self, name: str) -> None: ...
    async def fail(self, code: int, message: str, details: bytes = b"") -> None:
        """Ends the call; does not return."""
        ...


Handler = Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]


class MakeServer(Protocol):
    def __call__(
        self,
        handler: Handler,
        *,
        raw: bool = False,
        max_receive_bytes: int | None = None,
        address: str = "127.0.0.1:0",
    ) -> AbstractAsyncContextManager[str]:
        """The target of a server. `raw`: messages are bytes as they are on the wire."""
        ...


async def one(request: bytes) -> AsyncIterator[bytes]:
    yield request


def take(message: Any) -> bytes:
    return message if isinstance(message, bytes) else message.value


async def take_all(requests: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield take(request)


async def only_reply(replies: AsyncIterator[bytes]) -> bytes:
    (reply,) = [reply async for reply in replies]
    return reply


class Served:
    """The four handlers that a library calls, made of one. `wrap` makes a message of bytes."""

    def __init__(
        self, handler: Handler, context: Callable[[Any], Context], wrap: Callable[[bytes], Any]
    ) -> None:
        self._handler = handler
        self._context = context
        self._wrap = wrap

    async def unary(self, request: Any, ctx: Any) -> Any:
        return self._wrap(await only_reply(self._handler(one(take(request)), self._context(ctx))))

    async def server_stream(self, request: Any, ctx: Any) -> AsyncIterator[Any]:
        async for reply in self._handler(one(take(request)), self._context(ctx)):
            yield self._wrap(reply)

    async def client_stream(self, requests: AsyncIterator[Any], ctx: Any) -> Any:
        replies = self._handler(take_all(requests), self._context(ctx))
        return self._wrap(await only_reply(replies))

    async def bidi(self, requests: AsyncIterator[Any], ctx: Any) -> AsyncIterator[Any]:
        async for reply in self._handler(take_all(requests), self._context(ctx)):
            yield self._wrap(reply)


def same(data: bytes) -> bytes:
    return data


def boxed(data: bytes) -> BytesValue:
    return BytesValue(value=data)


# ---------------------------------------------------------------------- Gyrfalcon


class GyrfalconContext:
    def __init__(self, ctx: gyr.ServerContext) -> None:
        self._ctx = ctx

    @property
    def metadata(self) -> list[Pair]:
        return self._ctx.metadata.items()

    def time_remaining(self) -> float | None:
        return self._ctx.time_remaining()

    async def send_initial(self, metadata: Iterable[Pair]) -> None:
        await self._ctx.send_initial_metadata(list(metadata))

    def set_trailing(self, metadata: Iterable[Pair]) -> None:
        for key, value in metadata:
            self._ctx.trailing_metadata.add(key, value)

    def compress(self, name: str) -> None:
        self._ctx.compression = name

    async def fail(self, code: int, message: str, details: bytes = b"") -> None:
        unpacked = gyr.Status(gyr.StatusCode(code), message, details).details
        raise gyr.RpcError(message, code=gyr.StatusCode(code), details=unpacked)


class RawCalls(gyr.Service):
    """The same service with messages that nobody looks at."""

    __gyr_service__ = gyr.ServiceDefinition(SERVICE, RAW_METHODS)

    def __init__(self, **handlers: Callable[..., Any]) -> None:
        self.__dict__.update(handlers)


@asynccontextmanager
async def gyrfalcon_server(
    handler: Handler,
    *,
    raw: bool = False,
    max_receive_bytes: int | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[str]:
    served = Served(handler, GyrfalconContext, same if raw else boxed)
    kind: Callable[..., gyr.Service] = RawCalls if raw else Calls
    service = kind(**{method.attribute: getattr(served, method.attribute) for method in METHODS})
    options: dict[str, Any] = {"grace": 5.0}
    if max_receive_bytes is not None:
        options["max_receive_bytes"] = max_receive_bytes
    async with gyr.Server([service], **options) as server:
        port = await server.listen(address)
        yield f"127.0.0.1:{port}" if port else address


# ---------------------------------------------------------------------- grpc.aio


class AioContext:
    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    @property
    def metadata(self) -> list[Pair]:
        return [(key, value) for key, value in self._ctx.invocation_metadata()]

    def time_remaining(self) -> float | None:
        remaining: float | None = self._ctx.time_remaining()
        return remaining

    async def send_initial(self, metadata: Iterable[Pair]) -> None:
        await self._ctx.send_initial_metadata(tuple(metadata))

    def set_trailing(self, metadata: Iterable[Pair]) -> None:
        self._ctx.set_trailing_metadata(tuple(metadata))

    def compress(self, name: str) -> None:
        self._ctx.set_compression(COMPRESSIONS[name])

    async def fail(self, code: int, message: str, details: bytes = b"") -> None:
        (found,) = (one for one in grpc.StatusCode if one.value[0] == code)
        trailing = tuple(self._ctx.trailing_metadata() or ())
        if details:
            trailing = (*trailing, ("grpc-status-details-bin", details))
        await self._ctx.abort(found, message, trailing)


@asynccontextmanager
async def aio_server(
    handler: Handler,
    *,
    raw: bool = False,
    max_receive_bytes: int | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[str]:
    served = Served(handler, AioContext, same if raw else boxed)
    options: list[tuple[str, Any]] = [("grpc.so_reuseport", 0)]
    if max_receive_bytes is not None:
        options.append(("grpc.max_receive_message_length", max_receive_bytes))
    # Its default turns most of many calls at once away.
    options.append(("grpc.server.max_pending_requests", 10_000))
    options.append(("grpc.server.max_pending_requests_hard_limit", 20_000))
    server = grpc.aio.server(options=options)
    handlers = {}
    for method in METHODS:
        make: Any = getattr(grpc, f"{method.pattern.name.lower()}_rpc_method_handler")
        function: Callable[..., Awaitable[Any]] = getattr(served, method.attribute)
        handlers[method.name] = make(
            function,
            request_deserializer=None if raw else BytesValue.FromString,
            response_serializer=None if raw else BytesValue.SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        await server.stop(5.0)
