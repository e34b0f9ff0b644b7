"""Faces of stock grpcio: `grpc.aio` and the blocking `grpc`."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from tests.interop.clients import COMPRESSIONS, EOF
from tests.interop.faces import (
    AnyMethod,
    AsyncioFace,
    BlockingFace,
    CallFailed,
    End,
    Pair,
    StatusLost,
)

# What grpc.aio makes of a message that it was about to send when the call's status came, once in
# some hundreds of calls with a short deadline: the status that the server sent is lost.
LOST = "Internal error from Core"
MAX_MESSAGE = ("grpc.max_receive_message_length", 4 * 2**20)


def number(code: grpc.StatusCode) -> int:
    value: int = code.value[0]
    return value


def failure(error: grpc.aio.AioRpcError) -> CallFailed:
    return CallFailed(number(error.code()), known(error.details()))


def known(details: str | None) -> str:
    """The text of a status that the server sent."""
    if details == LOST:
        raise StatusLost(LOST)
    return details or ""


def multicallable(channel: Any, method: AnyMethod) -> Any:
    make = getattr(channel, method.pattern.name.lower())
    return make(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=method.response.FromString,
    )


def call_options(
    timeout: float | None, metadata: Sequence[Pair], compression: str | None
) -> dict[str, Any]:
    return {
        "timeout": timeout,
        "metadata": tuple(metadata),
        "compression": None if compression is None else COMPRESSIONS[compression],
    }


def pairs(metadata: Any) -> list[Pair]:
    return [(key, value) for key, value in metadata or ()]


class AioCall:
    """A call of grpc.aio."""

    reply_compressed = None

    def __init__(self, call: Any) -> None:
        self._call = call

    async def send(self, request: Any, *, compress: bool = True) -> None:
        if not compress:
            raise NotImplementedError("grpcio's clients compress all requests of a call, or none")
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            raise CallFailed(*await self._status()) from None
        except grpc.aio.AioRpcError as error:
            raise failure(error) from error

    async def done_sending(self) -> None:
        await self._call.done_writing()

    async def receive(self) -> Any:
        try:
            reply = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise failure(error) from error
        if reply is not EOF:
            return reply
        code, message = await self._status()
        if code:
            raise CallFailed(code, message)
        return None

    async def reply(self) -> Any:
        try:
            return await self._call
        except grpc.aio.AioRpcError as error:
            raise failure(error) from error

    async def initial_metadata(self) -> list[Pair]:
        return pairs(await self._call.initial_metadata())

    async def _status(self) -> tuple[int, str]:
        return number(await self._call.code()), known(await self._call.details())

    async def end(self) -> End:
        code, message = await self._status()
        return End(code, message, pairs(await self._call.trailing_metadata()))

    def cancel(self) -> None:
        self._call.cancel()


class AioClient:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def start(
        self,
        method: AnyMethod,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Sequence[Pair] = (),
        compression: str | None = None,
    ) -> AioCall:
        start = multicallable(self._channel, method)
        return AioCall(start(request, **call_options(timeout, metadata, compression)))

    async def unary(self, method: AnyMethod, request: Any, *, timeout: float | None = None) -> Any:
        return await self.start(method, request, timeout=timeout).reply()


class GrpcAio(AsyncioFace):
    compresses_single_requests = False

    def __init__(
        self, target: str, credentials: grpc.ChannelCredentials | None, override: str | None
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._options = channel_options(override)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AioClient]:
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self._target, options=self._options)
        else:
            channel = grpc.aio.secure_channel(
                self._target, self._credentials, options=self._options
            )
        async with channel:
            yield AioClient(channel)


def channel_options(override: str | None) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [MAX_MESSAGE]
    # Else the channels of one process to one target share their connection.
    options.append(("grpc.use_local_subchannel_pool", 1))
    if override is not None:
        options.append(("grpc.ssl_target_name_override", override))
    return options


class BlockingCall:
    """A call of grpcio's blocking face."""

    reply_compressed = None

    def __init__(self, call: Any, requests: queue.SimpleQueue[Any] | None) -> None:
        self._call = call
        self._requests = requests

    async def send(self, request: Any, *, compress: bool = True) -> None:
        if not compress:
            raise NotImplementedError("grpcio's clients compress all requests of a call, or none")
        assert self._requests is not None
        self._requests.put(request)

    async def done_sending(self) -> None:
        assert self._requests is not None
        self._requests.put(None)

    async def receive(self) -> Any:
        try:
            return next(self._call, None)
        except grpc.RpcError:
            self._over()
            raise CallFailed(number(self._call.code()), self._call.details() or "") from None

    async def reply(self) -> Any:
        try:
            return self._call.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            self._over()
            raise CallFailed(number(self._call.code()), self._call.details() or "") from None

    async def initial_metadata(self) -> list[Pair]:
        return pairs(self._call.initial_metadata())

    async def end(self) -> End:
        code = number(self._call.code())  # waits for the end
        self._over()
        return End(code, self._call.details() or "", pairs(self._call.trailing_metadata()))

    def cancel(self) -> None:
        self._call.cancel()
        self._over()

    def _over(self) -> None:
        """Let the thread go that takes the requests."""
        if self._requests is not None:
            self._requests.put(None)


class BlockingClient:
    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def start(
        self,
        method: AnyMethod,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Sequence[Pair] = (),
        compression: str | None = None,
    ) -> BlockingCall:
        requests: queue.SimpleQueue[Any] | None = None
        if method.pattern.client_streaming:
            requests = queue.SimpleQueue()
            request = iter(requests.get, None)
        start = multicallable(self._channel, method)
        if not method.pattern.server_streaming:
            start = start.future
        call = start(request, **call_options(timeout, metadata, compression))
        return BlockingCall(call, requests)

    async def unary(self, method: AnyMethod, request: Any, *, timeout: float | None = None) -> Any:
        try:
            return multicallable(self._channel, method)(request, timeout=timeout)
        except grpc.RpcError as caught:
            error: Any = caught
            raise CallFailed(number(error.code()), error.details() or "") from None


class GrpcBlocking(BlockingFace):
    compresses_single_requests = False

    def __init__(
        self, target: str, credentials: grpc.ChannelCredentials | None, override: str | None
    ) -> None:
        self._target = target
        self._credentials = credentials
        self._options = channel_options(override)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[BlockingClient]:
        if self._credentials is None:
            channel = grpc.insecure_channel(self._target, options=self._options)
        else:
            channel = grpc.secure_channel(self._target, self._credentials, options=self._options)
        with channel:
            yield BlockingClient(channel)
