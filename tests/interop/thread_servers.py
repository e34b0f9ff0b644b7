"""Servers with `def` handlers behind the face of `servers`: Gyrfalcon's blocking one and grpcio's.

The test's handler stays on the test's loop; the thread that the library gives to the call does
what blocks there.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import METHODS, SERVICE, Calls
from tests.interop.clients import COMPRESSIONS, Pair
from tests.interop.servers import Context, Handler, RawCalls, boxed, same, take

T = TypeVar("T")

# A thread cannot be interrupted: it looks now and then whether its call is over.
LOOK_S = 0.01


class Ask(Protocol):
    """Has the thread of the call do a step; waits for what it returns or raises."""

    async def __call__(self, step: Callable[[], T], /) -> T: ...


class Bridge:
    """One call: its thread iterates `replies`, and does in between what the handler asks for."""

    def __init__(
        self,
        handler: Handler,
        requests: Iterator[Any],
        make_context: Callable[[Ask], Context],
        over: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._handler = handler
        self._requests = requests
        self._context = make_context(self._ask)
        self._over = over
        self._loop = loop
        # A step and who waits for it; bytes are a reply, None the end.
        self._steps: queue.SimpleQueue[
            tuple[Callable[[], Any] | bytes, asyncio.Future[Any]] | None
        ] = queue.SimpleQueue()

    def replies(self) -> Iterator[bytes]:
        running = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        running.add_done_callback(lambda _: self._steps.put(None))
        try:
            while (step := self._next_step(running)) is not None:
                what, asking = step
                if isinstance(what, bytes):
                    yield what
                    self._tell(asking, None, None)
                else:
                    self._do(what, asking)
            if not running.cancelled():
                running.result()
        finally:
            running.cancel()

    def _next_step(
        self, running: Future[None]
    ) -> tuple[Callable[[], Any] | bytes, asyncio.Future[Any]] | None:
        while True:
            try:
                return self._steps.get(timeout=LOOK_S)
            except queue.Empty:
                if self._over():
                    running.cancel()

    def _do(self, step: Callable[[], Any], asking: asyncio.Future[Any]) -> None:
        try:
            value = step()
        except Exception as error:
            self._tell(asking, None, error)
        else:
            self._tell(asking, value, None)

    def _tell(self, asking: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
        def settle() -> None:
            if asking.done():
                return
            if error is None:
                asking.set_result(value)
            else:
                asking.set_exception(error)

        self._loop.call_soon_threadsafe(settle)

    # ------------------------------------------------------------------ on the test's loop

    async def _run(self) -> None:
        async with aclosing(self._handler(self._take_requests(), self._context)) as replies:  # type: ignore[type-var]
            async for reply in replies:
                await self._step(reply)

    async def _take_requests(self) -> AsyncIterator[bytes]:
        while (request := await self._ask(lambda: next(self._requests, None))) is not None:
            yield take(request)

    async def _ask(self, step: Callable[[], T], /) -> T:
        value: T = await self._step(step)
        return value

    async def _step(self, what: Callable[[], Any] | bytes) -> Any:
        asking: asyncio.Future[Any] = self._loop.create_future()
        self._steps.put((what, asking))
        return await asking


MakeBridge = Callable[[Iterator[Any], Any], Bridge]


class Served:
    """The four `def` handlers that a library calls. `wrap` makes a message of bytes."""

    def __init__(self, bridge: MakeBridge, wrap: Callable[[bytes], Any]) -> None:
        self._bridge = bridge
        self._wrap = wrap

    def unary(self, request: Any, ctx: Any) -> Any:
        return self.client_stream(iter([request]), ctx)

    def server_stream(self, request: Any, ctx: Any) -> Iterator[Any]:
        return self.bidi(iter([request]), ctx)

    def client_stream(self, requests: Iterator[Any], ctx: Any) -> Any:
        (reply,) = self._bridge(requests, ctx).replies()
        return self._wrap(reply)

    def bidi(self, requests: Iterator[Any], ctx: Any) -> Iterator[Any]:
        return map(self._wrap, self._bridge(requests, ctx).replies())


# ---------------------------------------------------------------------- Gyrfalcon


class GyrfalconThreadContext:
    def __init__(self, ctx: gyr.ServerContext, ask: Ask) -> None:
        self._ctx = ctx
        self._ask = ask

    @property
    def metadata(self) -> list[Pair]:
        return self._ctx.metadata.items()

    def time_remaining(self) -> float | None:
        return self._ctx.time_remaining()

    async def send_initial(self, metadata: Iterable[Pair]) -> None:
        await self._ask(partial(self._ctx.send_initial_metadata, list(metadata)))

    def set_trailing(self, metadata: Iterable[Pair]) -> None:
        for key, value in metadata:
            self._ctx.trailing_metadata.add(key, value)

    def compress(self, name: str) -> None:
        self._ctx.compression = name

    async def fail(self, code: int, message: str, details: bytes = b"") -> None:
        unpacked = gyr.Status(gyr.StatusCode(code), message, details).details
        raise gyr.RpcError(message, code=gyr.StatusCode(code), details=unpacked)


@asynccontextmanager
async def threaded_server(
    handler: Handler,
    *,
    raw: bool = False,
    max_receive_bytes: int | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()

    def bridge(requests: Iterator[Any], ctx: gyr.ServerContext) -> Bridge:
        make_context = partial(GyrfalconThreadContext, ctx)
        return Bridge(handler, requests, make_context, lambda: ctx.cancelled, loop)

    served = Served(bridge, same if raw else boxed)
    kind: Callable[..., gyr.Service] = RawCalls if raw else Calls
    service = kind(**{method.attribute: getattr(served, method.attribute) for method in METHODS})
    options: dict[str, Any] = {"grace": 5.0}
    if max_receive_bytes is not None:
        options["max_receive_bytes"] = max_receive_bytes
    server = gyr.blocking.Server([service], **options)
    try:
        port = server.listen(address)
        server.start()
        yield f"127.0.0.1:{port}" if port else address
    finally:
        # Its handlers need this loop to end.
        await asyncio.to_thread(server.stop)


# ---------------------------------------------------------------------- grpc, blocking


class GrpcioContext:
    def __init__(self, ctx: grpc.ServicerContext, ask: Ask) -> None:
        self._ctx = ctx
        self._ask = ask

    @property
    def metadata(self) -> list[Pair]:
        return [(key, value) for key, value in self._ctx.invocation_metadata()]

    def time_remaining(self) -> float | None:
        remaining: float | None = self._ctx.time_remaining()
        return remaining

    async def send_initial(self, metadata: Iterable[Pair]) -> None:
        await self._ask(partial(self._ctx.send_initial_metadata, tuple(metadata)))

    def set_trailing(self, metadata: Iterable[Pair]) -> None:
        self._ctx.set_trailing_metadata(tuple(metadata))

    def compress(self, name: str) -> None:
        self._ctx.set_compression(COMPRESSIONS[name])

    async def fail(self, code: int, message: str, details: bytes = b"") -> None:
        (found,) = (one for one in grpc.StatusCode if one.value[0] == code)
        trailing = tuple(self._ctx.trailing_metadata() or ())
        if details:
            self._ctx.set_trailing_metadata((*trailing, ("grpc-status-details-bin", details)))
        await self._ask(partial(self._ctx.abort, found, message))


@asynccontextmanager
async def grpcio_server(
    handler: Handler,
    *,
    raw: bool = False,
    max_receive_bytes: int | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()

    def bridge(requests: Iterator[Any], ctx: grpc.ServicerContext) -> Bridge:
        make_context = partial(GrpcioContext, ctx)
        return Bridge(handler, requests, make_context, lambda: not ctx.is_active(), loop)

    served = Served(bridge, same if raw else boxed)
    options: list[tuple[str, Any]] = [("grpc.so_reuseport", 0)]
    # As those of grpc.aio.
    options.append(("grpc.server.max_pending_requests", 10_000))
    options.append(("grpc.server.max_pending_requests_hard_limit", 20_000))
    if max_receive_bytes is not None:
        options.append(("grpc.max_receive_message_length", max_receive_bytes))
    handlers = {}
    for method in METHODS:
        make: Any = getattr(grpc, f"{method.pattern.name.lower()}_rpc_method_handler")
        handlers[method.name] = make(
            getattr(served, method.attribute),
            request_deserializer=None if raw else BytesValue.FromString,
            response_serializer=None if raw else BytesValue.SerializeToString,
        )
    with ThreadPoolExecutor(16, "grpcio server") as threads:
        server = grpc.server(threads, options=options)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port(address)
        server.start()
        try:
            yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
        finally:
            await asyncio.to_thread(server.stop(5.0).wait)
            # Its threads end their handlers on this loop.
            await asyncio.to_thread(threads.shutdown)
