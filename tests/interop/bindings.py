"""`TestService` as handlers of a library: asynchronous ones, and ones for threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import gyrfalcon as gyr
from gyrfalcon.services import LoadReport
from tests.interop.cases.words import METHODS
from tests.interop.faces import (
    AnyMethod,
    Pair,
    iterate_blocking,
    iterate_ready,
    run_blocking,
)
from tests.interop.service import Context, TestService

SERVED = tuple(method for method in METHODS.values() if method.name != "UnimplementedCall")

MakeContext = Callable[[Any], Context]


def async_handler(service: TestService, method: AnyMethod, context: MakeContext) -> Any:
    """As libraries on asyncio call it: with the request or an async iterator of them."""
    function = getattr(service, method.attribute)
    if not method.pattern.server_streaming:

        async def answer(request: Any, ctx: Any) -> Any:
            return await function(request, context(ctx))

        return answer

    async def stream(request: Any, ctx: Any) -> AsyncIterator[Any]:
        async for reply in function(request, context(ctx)):
            yield reply

    return stream


def thread_handler(service: TestService, method: AnyMethod, context: MakeContext) -> Any:
    """As libraries of threads call it: with the request or an iterator of them."""
    function = getattr(service, method.attribute)

    def taken(request: Any) -> Any:
        return iterate_ready(request) if method.pattern.client_streaming else request

    if not method.pattern.server_streaming:

        def answer(request: Any, ctx: Any) -> Any:
            return run_blocking(function(taken(request), context(ctx)))

        return answer

    def stream(request: Any, ctx: Any) -> Iterator[Any]:
        yield from iterate_blocking(function(taken(request), context(ctx)))

    return stream


class ThreadLock:
    """A lock of threads for a coroutine that never waits for a loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        with self._lock:
            yield


# ---------------------------------------------------------------------- Gyrfalcon


class GyrfalconContext:
    """What asyncio's handlers and those of threads have in common."""

    def __init__(self, ctx: gyr.ServerContext) -> None:
        self._ctx = ctx

    @property
    def metadata(self) -> list[Pair]:
        return list(self._ctx.metadata.items())

    @property
    def request_compressed(self) -> bool | None:
        return self._ctx.request_compressed

    def add_trailing(self, key: str, value: str | bytes) -> None:
        self._ctx.trailing_metadata.add(key, value)

    def report(self, report: LoadReport) -> None:
        report.attach(self._ctx)

    async def use_compression(self) -> None:
        self._ctx.compression = "gzip"

    def compress(self, compress: bool) -> None:
        self._ctx.compress = compress

    async def fail(self, code: int, message: str) -> None:
        raise gyr.RpcError(message, code=gyr.StatusCode(code))


class AsyncioContext(GyrfalconContext):
    async def send_initial(self, pairs: list[Pair]) -> None:
        await self._ctx.send_initial_metadata(pairs)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ThreadContext(GyrfalconContext):
    async def send_initial(self, pairs: list[Pair]) -> None:
        self._ctx.send_initial_metadata(pairs)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - a thread of its own


class GyrfalconService(gyr.Service):
    """`grpc.testing.TestService`, without what servers are to leave out."""

    __gyr_service__: ClassVar[gyr.ServiceDefinition] = gyr.ServiceDefinition(
        SERVED[0].service, SERVED
    )

    def __init__(self, service: TestService, *, threads: bool) -> None:
        make = thread_handler if threads else async_handler
        context: MakeContext = ThreadContext if threads else AsyncioContext
        for method in SERVED:
            setattr(self, method.attribute, make(service, method, context))
