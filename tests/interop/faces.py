"""What the cases of gRPC's interoperability tests need of a client, of any library and face.

The cases are written once, as coroutines. On a blocking face nothing in them ever waits for a loop:
each step is done when it returns, and `run_blocking` runs such a coroutine to its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import gyrfalcon as gyr

T = TypeVar("T")
Pair = tuple[str, str | bytes]
AnyMethod = gyr.Method[Any, Any]


class StatusLost(Exception):
    """A fault of the client's library: it does not say how a call ended. The case is run again."""


class CallFailed(Exception):
    """A call ended with another status than OK, or before its requests were sent."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"status {code}: {message!r}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class End:
    """How a call ended."""

    code: int
    message: str
    trailing: list[Pair]


class Call(Protocol):
    """A call that goes on. What a pattern does not have is not to be asked of it."""

    async def send(self, request: Any, *, compress: bool = True) -> None:
        """`compress`: False leaves this one as it is, in a call that has a compression."""
        ...

    async def done_sending(self) -> None: ...
    async def receive(self) -> Any:
        """The next reply of a stream, None after the last; CallFailed."""
        ...

    async def reply(self) -> Any:
        """The only reply; CallFailed."""
        ...

    async def initial_metadata(self) -> list[Pair]: ...
    async def end(self) -> End: ...
    def cancel(self) -> None: ...
    @property
    def reply_compressed(self) -> bool | None:
        """Whether the reply that was taken last came compressed; None: this library cannot tell."""
        ...


class Client(Protocol):
    """Calls on one channel."""

    def start(
        self,
        method: AnyMethod,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Sequence[Pair] = (),
        compression: str | None = None,
    ) -> Call:
        """`request`: of methods with one; the others get theirs from `Call.send`."""
        ...

    async def unary(self, method: AnyMethod, request: Any, *, timeout: float | None = None) -> Any:
        """The reply, in the shortest way that the library has; CallFailed."""
        ...


class Face(Protocol):
    """A library's way to make calls."""

    compresses_single_requests: bool
    """Whether a request of a stream can be left uncompressed in a call with compression."""

    def client(self) -> AbstractAsyncContextManager[Client]:
        """A channel of its own."""
        ...

    async def sleep(self, seconds: float) -> None: ...
    async def together(self, count: int, function: Callable[[int], Awaitable[None]]) -> None:
        """Have `function(0)` to `function(count - 1)` run at the same time; their first error."""
        ...

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits for a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError(f"{coroutine!r} waited for a loop, on a blocking face")


def iterate_blocking(iterator: AsyncGenerator[T, None]) -> Iterator[T]:
    """Iterate what never waits for a loop."""
    try:
        while (item := run_blocking(_next_of(iterator))) is not _END:
            yield item
    finally:
        run_blocking(iterator.aclose())


async def iterate_ready(iterator: Iterable[T]) -> AsyncGenerator[T, None]:
    """The other way round: what a coroutine on a blocking face iterates."""
    for item in iterator:
        yield item


_END: Any = object()


async def _next_of(iterator: AsyncGenerator[T, None]) -> T:
    return await anext(iterator, _END)


class AsyncioFace:
    """What faces on asyncio have in common."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def together(self, count: int, function: Callable[[int], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(_awaited(function(number)))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)


class BlockingFace:
    """What faces of threads have in common."""

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs here

    async def together(self, count: int, function: Callable[[int], Awaitable[None]]) -> None:
        with ThreadPoolExecutor(count, "interop") as threads:
            running = [
                threads.submit(run_blocking, _awaited(function(number))) for number in range(count)
            ]
        for one in running:
            one.result()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_blocking(coroutine)


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


# ---------------------------------------------------------------------- Gyrfalcon


def failed(error: gyr.RpcError) -> CallFailed:
    return CallFailed(int(error.code), error.message)


class AsyncioCall:
    """A call of Gyrfalcon's asyncio face."""

    def __init__(self, call: Any) -> None:
        self._call = call

    @property
    def reply_compressed(self) -> bool | None:
        compressed: bool = self._call.reply_compressed
        return compressed

    async def send(self, request: Any, *, compress: bool = True) -> None:
        try:
            await self._call.send(request, compress=None if compress else False)
        except gyr.RpcError as error:
            raise failed(error) from error
        except EOFError as error:
            raise CallFailed(0, str(error)) from error

    async def done_sending(self) -> None:
        await self._call.done_sending()

    async def receive(self) -> Any:
        try:
            return await self._call.receive()
        except gyr.RpcError as error:
            raise failed(error) from error

    async def reply(self) -> Any:
        try:
            return await self._call
        except gyr.RpcError as error:
            raise failed(error) from error

    async def initial_metadata(self) -> list[Pair]:
        return list((await self._call.initial_metadata()).items())

    async def end(self) -> End:
        status = await self._call.status()
        trailing = (await self._call.trailing_metadata()).items()
        return End(int(status.code), status.message, list(trailing))

    def cancel(self) -> None:
        self._call.cancel()


ASYNC_KINDS: dict[gyr.Pattern, Any] = {
    gyr.Pattern.UNARY_UNARY: gyr.UnaryUnary,
    gyr.Pattern.UNARY_STREAM: gyr.UnaryStream,
    gyr.Pattern.STREAM_UNARY: gyr.StreamUnary,
    gyr.Pattern.STREAM_STREAM: gyr.StreamStream,
}


class AsyncioClient:
    """Calls on a `gyr.Channel`."""

    def __init__(self, channel: gyr.Channel) -> None:
        self._channel = channel

    def start(self, method: AnyMethod, request: Any = None, **options: Any) -> AsyncioCall:
        call = ASYNC_KINDS[method.pattern](self._channel, method)
        return AsyncioCall(call(request, **options))

    async def unary(self, method: AnyMethod, request: Any, *, timeout: float | None = None) -> Any:
        return await self.start(method, request, timeout=timeout).reply()


class GyrfalconAsyncio(AsyncioFace):
    compresses_single_requests = True

    def __init__(self, target: str, **options: Any) -> None:
        self._target = target
        self._options = options

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncioClient]:
        async with gyr.Channel(self._target, **self._options) as channel:
            yield AsyncioClient(channel)


class ThreadCall:
    """A call of Gyrfalcon's blocking face: a Future where there is one reply, else a call."""

    def __init__(self, call: Any) -> None:
        self._call = call

    @property
    def reply_compressed(self) -> bool | None:
        compressed: bool = self._call.reply_compressed
        return compressed

    async def send(self, request: Any, *, compress: bool = True) -> None:
        try:
            self._call.send(request, compress=None if compress else False)
        except gyr.RpcError as error:
            raise failed(error) from error
        except EOFError as error:
            raise CallFailed(0, str(error)) from error

    async def done_sending(self) -> None:
        self._call.done_sending()

    async def receive(self) -> Any:
        try:
            return self._call.receive()
        except gyr.RpcError as error:
            raise failed(error) from error

    async def reply(self) -> Any:
        try:
            return self._call.result()
        except gyr.RpcError as error:
            raise failed(error) from error

    async def initial_metadata(self) -> list[Pair]:
        return list(self._call.initial_metadata().items())

    async def end(self) -> End:
        status = self._call.status()
        return End(int(status.code), status.message, list(self._call.trailing_metadata().items()))

    def cancel(self) -> None:
        self._call.cancel()


class ThreadClient:
    """Calls on a `gyr.blocking.Channel`."""

    def __init__(self, channel: gyr.blocking.Channel) -> None:
        self._channel = channel

    def start(self, method: AnyMethod, request: Any = None, **options: Any) -> ThreadCall:
        kinds: dict[gyr.Pattern, Any] = {
            gyr.Pattern.UNARY_UNARY: gyr.blocking.UnaryUnary,
            gyr.Pattern.UNARY_STREAM: gyr.blocking.UnaryStream,
            gyr.Pattern.STREAM_UNARY: gyr.blocking.StreamUnary,
            gyr.Pattern.STREAM_STREAM: gyr.blocking.StreamStream,
        }
        call = kinds[method.pattern](self._channel, method)
        if not method.pattern.server_streaming:
            call = call.future
        return ThreadCall(call(request, **options))

    async def unary(self, method: AnyMethod, request: Any, *, timeout: float | None = None) -> Any:
        call = gyr.blocking.UnaryUnary[Any, Any](self._channel, method)
        try:
            return call(request, timeout=timeout)
        except gyr.RpcError as error:
            raise failed(error) from error


class GyrfalconBlocking(BlockingFace):
    compresses_single_requests = True

    def __init__(self, target: str, **options: Any) -> None:
        self._target = target
        self._options = options

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ThreadClient]:
        with gyr.blocking.Channel(self._target, **self._options) as channel:
            yield ThreadClient(channel)
