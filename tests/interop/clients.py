"""Clients of three makes behind one face, so that a test says once what each of them must see."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Stub

Pair = tuple[str, str | bytes]
Method = gyr.Method[Any, Any]

# The type stubs of grpcio leave it out.
EOF: Any = vars(grpc.aio)["EOF"]

COMPRESSIONS = {
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
    None: grpc.Compression.NoCompression,
}
# What HTTP/2 and the libraries add of their own.
FOREIGN_KEYS = ("content-type", "user-agent", "te")


@dataclass
class Outcome:
    """All that a caller learns of a call."""

    code: int
    message: str
    replies: list[bytes]
    initial: list[Pair]
    trailing: list[Pair]
    details: bytes = b""


class Running(Protocol):
    """A call that goes on. What a pattern does not have is not to be asked of it."""

    async def send(self, data: bytes) -> None: ...
    async def done_sending(self) -> None: ...
    async def receive(self) -> bytes | None:
        """The next reply of a stream; None after the last, whatever the status."""
        ...

    async def initial_metadata(self) -> list[Pair]: ...
    def cancel(self) -> None: ...
    async def outcome(self) -> Outcome:
        """The rest of the replies, and the end."""
        ...


class Client(Protocol):
    """Starts calls. `requests`: None for those that are sent one by one."""

    def start(
        self,
        method: Method,
        requests: Iterable[bytes] | None,
        *,
        metadata: Sequence[Pair] = (),
        timeout: float | None = 20.0,
        compression: str | None = None,
        wait_for_ready: bool = False,
    ) -> Running: ...


class MakeClient(Protocol):
    def __call__(
        self, target: str, *, max_receive_bytes: int | None = None, user_agent: str = ""
    ) -> AbstractAsyncContextManager[Client]: ...


def own_pairs(metadata: Any) -> list[Pair]:
    """The application's part of received metadata, whatever the library gives."""
    pairs = [(key, value) for key, value in metadata or ()]
    return [
        (key, value)
        for key, value in pairs
        if key not in FOREIGN_KEYS and not key.startswith("grpc-")
    ]


def details_in(metadata: Any) -> bytes:
    details: bytes = dict(metadata or ()).get("grpc-status-details-bin", b"")
    return details


def channel_options(max_receive_bytes: int | None, user_agent: str) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [("grpc.enable_retries", 0)]
    if max_receive_bytes is not None:
        options.append(("grpc.max_receive_message_length", max_receive_bytes))
    if user_agent:
        options.append(("grpc.primary_user_agent", user_agent))
    return options


def multicallable(channel: Any, method: Method) -> Any:
    """grpcio's method of a stub."""
    make = getattr(channel, method.pattern.name.lower())
    raw = method.request is bytes
    return make(
        method.path,
        request_serializer=None if raw else BytesValue.SerializeToString,
        response_deserializer=None if raw else BytesValue.FromString,
    )


def wrap(method: Method, data: bytes) -> Any:
    return data if method.request is bytes else BytesValue(value=data)


def unwrap(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else reply.value


# ---------------------------------------------------------------------- Gyrfalcon


class GyrfalconCall:
    """A call of this project's own."""

    def __init__(self, method: Method, call: Any) -> None:
        self._method = method
        self._call = call
        self._replies: list[bytes] = []

    async def send(self, data: bytes) -> None:
        await self._call.send(wrap(self._method, data))

    async def done_sending(self) -> None:
        await self._call.done_sending()

    async def receive(self) -> bytes | None:
        try:
            reply = await self._call.receive()
        except gyr.RpcError:
            return None
        return None if reply is None else unwrap(reply)

    async def initial_metadata(self) -> list[Pair]:
        return own_pairs((await self._call.initial_metadata()).items())

    def cancel(self) -> None:
        self._call.cancel()

    async def outcome(self) -> Outcome:
        replies: list[bytes] = []
        error: gyr.RpcError | None = None
        try:
            if self._method.pattern.server_streaming:
                async for reply in self._call:
                    replies.append(unwrap(reply))
            else:
                replies.append(unwrap(await self._call))
        except gyr.RpcError as caught:
            error = caught
        status = await self._call.status()
        try:
            initial = (await self._call.initial_metadata()).items()
        except gyr.RpcError:
            initial = []
        trailing = (await self._call.trailing_metadata()).items()
        if error is not None:
            assert (error.code, error.message) == (status.code, status.message)
            assert error.trailing_metadata.items() == trailing
        return Outcome(
            int(status.code), status.message, replies, initial, trailing, status.encoded_details()
        )


class GyrfalconClient:
    def __init__(self, channel: gyr.Channel) -> None:
        self._channel = channel
        self._stub = Stub(channel)

    def start(
        self, method: Method, requests: Iterable[bytes] | None, **options: Any
    ) -> GyrfalconCall:
        kind: Any = {
            gyr.Pattern.UNARY_UNARY: gyr.UnaryUnary,
            gyr.Pattern.UNARY_STREAM: gyr.UnaryStream,
            gyr.Pattern.STREAM_UNARY: gyr.StreamUnary,
            gyr.Pattern.STREAM_STREAM: gyr.StreamStream,
        }[method.pattern]
        call = kind(self._channel, method)
        if method.pattern.client_streaming:
            messages = None if requests is None else (wrap(method, one) for one in requests)
            return GyrfalconCall(method, call(messages, **options))
        assert requests is not None
        (request,) = requests
        return GyrfalconCall(method, call(wrap(method, request), **options))


@asynccontextmanager
async def gyrfalcon_client(
    target: str, *, max_receive_bytes: int | None = None, user_agent: str = ""
) -> AsyncIterator[GyrfalconClient]:
    options: dict[str, Any] = {"user_agent": user_agent or None}
    if max_receive_bytes is not None:
        options["max_receive_bytes"] = max_receive_bytes
    async with gyr.Channel(target, **options) as channel:
        yield GyrfalconClient(channel)


# ---------------------------------------------------------------------- grpc.aio


class AioCall:
    """A call of grpc.aio."""

    def __init__(self, method: Method, call: Any) -> None:
        self._method = method
        self._call = call

    async def send(self, data: bytes) -> None:
        await self._call.write(wrap(self._method, data))

    async def done_sending(self) -> None:
        await self._call.done_writing()

    async def receive(self) -> bytes | None:
        try:
            reply = await self._call.read()
        except grpc.aio.AioRpcError:
            return None
        return None if reply is EOF else unwrap(reply)

    async def initial_metadata(self) -> list[Pair]:
        return own_pairs(await self._call.initial_metadata())

    def cancel(self) -> None:
        self._call.cancel()

    async def outcome(self) -> Outcome:
        replies: list[bytes] = []
        try:
            if self._method.pattern.server_streaming:
                while (reply := await self._call.read()) is not EOF:
                    replies.append(unwrap(reply))
            else:
                replies.append(unwrap(await self._call))
        except grpc.aio.AioRpcError:
            pass
        except asyncio.CancelledError:
            if not self._call.cancelled():
                raise
        code = await self._call.code()
        trailing = await self._call.trailing_metadata()
        return Outcome(
            code.value[0],
            await self._call.details() or "",
            replies,
            own_pairs(await self._call.initial_metadata()),
            own_pairs(trailing),
            details_in(trailing),
        )


class AioClient:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def start(
        self,
        method: Method,
        requests: Iterable[bytes] | None,
        *,
        metadata: Sequence[Pair] = (),
        timeout: float | None = 20.0,
        compression: str | None = None,
        wait_for_ready: bool = False,
    ) -> AioCall:
        argument: Any = None
        if method.pattern.client_streaming:
            if requests is not None:
                argument = (wrap(method, one) for one in requests)
        else:
            assert requests is not None
            (request,) = requests
            argument = wrap(method, request)
        call = multicallable(self._channel, method)(
            argument,
            timeout=timeout,
            metadata=tuple(metadata),
            wait_for_ready=wait_for_ready,
            compression=COMPRESSIONS[compression],
        )
        return AioCall(method, call)


@asynccontextmanager
async def aio_client(
    target: str, *, max_receive_bytes: int | None = None, user_agent: str = ""
) -> AsyncIterator[AioClient]:
    options = channel_options(max_receive_bytes, user_agent)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        yield AioClient(channel)


# ---------------------------------------------------------------------- grpc, blocking


class BlockingCall:
    """A call of grpcio's blocking API, with a thread for each step that blocks."""

    def __init__(
        self,
        method: Method,
        call: Any,
        requests: queue.SimpleQueue[bytes | None],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._method = method
        self._call = call
        self._requests = requests
        self._threads = threads

    async def send(self, data: bytes) -> None:
        self._requests.put(data)

    async def done_sending(self) -> None:
        self._requests.put(None)

    async def receive(self) -> bytes | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._receive)

    def _receive(self) -> bytes | None:
        try:
            reply = next(self._call, None)
        except grpc.RpcError:
            return None
        return None if reply is None else unwrap(reply)

    async def initial_metadata(self) -> list[Pair]:
        loop = asyncio.get_running_loop()
        return own_pairs(await loop.run_in_executor(self._threads, self._call.initial_metadata))

    def cancel(self) -> None:
        self._call.cancel()
        self._requests.put(None)

    async def outcome(self) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._finish)

    def _finish(self) -> Outcome:
        replies: list[bytes] = []
        try:
            if self._method.pattern.server_streaming:
                for reply in self._call:
                    replies.append(unwrap(reply))
            else:
                replies.append(unwrap(self._call.result()))
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        self._requests.put(None)
        trailing = self._call.trailing_metadata()
        return Outcome(
            self._call.code().value[0],
            self._call.details() or "",
            replies,
            own_pairs(self._call.initial_metadata()),
            own_pairs(trailing),
            details_in(trailing),
        )


class BlockingClient:
    def __init__(self, channel: grpc.Channel, threads: ThreadPoolExecutor) -> None:
        self._channel = channel
        self._threads = threads

    def start(
        self,
        method: Method,
        requests: Iterable[bytes] | None,
        *,
        metadata: Sequence[Pair] = (),
        timeout: float | None = 20.0,
        compression: str | None = None,
        wait_for_ready: bool = False,
    ) -> BlockingCall:
        fed: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        argument: Any
        if method.pattern.client_streaming:
            source: Iterator[bytes] = iter(fed.get, None) if requests is None else iter(requests)
            argument = (wrap(method, one) for one in source)
        else:
            assert requests is not None
            (request,) = requests
            argument = wrap(method, request)
        start = multicallable(self._channel, method)
        if not method.pattern.server_streaming:
            start = start.future
        call = start(
            argument,
            timeout=timeout,
            metadata=tuple(metadata),
            wait_for_ready=wait_for_ready,
            compression=COMPRESSIONS[compression],
        )
        return BlockingCall(method, call, fed, self._threads)


@asynccontextmanager
async def blocking_client(
    target: str, *, max_receive_bytes: int | None = None, user_agent: str = ""
) -> AsyncIterator[BlockingClient]:
    options = channel_options(max_receive_bytes, user_agent)
    with ThreadPoolExecutor(8, "blocking client") as threads:
        channel = grpc.insecure_channel(target, options=options)
        try:
            yield BlockingClient(channel, threads)
        finally:
            # Waits for the channel's own thread.
            await asyncio.get_running_loop().run_in_executor(threads, channel.close)
