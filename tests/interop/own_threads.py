"""Gyrfalcon's blocking client behind the face that all clients of these tests have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import gyrfalcon as gyr
from tests.interop.clients import Method, Outcome, Pair, own_pairs, unwrap, wrap

T = TypeVar("T")


class ThreadedCall:
    """A call of the blocking channel, with a thread for each step that waits."""

    def __init__(self, method: Method, call: Any, threads: ThreadPoolExecutor) -> None:
        self._method = method
        self._call = call
        self._threads = threads

    async def _wait(self, step: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, step, *arguments)

    async def send(self, data: bytes) -> None:
        await self._wait(self._call.send, wrap(self._method, data))

    async def done_sending(self) -> None:
        await self._wait(self._call.done_sending)

    async def receive(self) -> bytes | None:
        return await self._wait(self._receive)

    def _receive(self) -> bytes | None:
        try:
            reply = self._call.receive()
        except gyr.RpcError:
            return None
        return None if reply is None else unwrap(reply)

    async def initial_metadata(self) -> list[Pair]:
        return own_pairs((await self._wait(self._call.initial_metadata)).items())

    def cancel(self) -> None:
        self._call.cancel()

    async def outcome(self) -> Outcome:
        return await self._wait(self._finish)

    def _finish(self) -> Outcome:
        replies: list[bytes] = []
        error: gyr.RpcError | None = None
        try:
            if self._method.pattern.server_streaming:
                for reply in self._call:
                    replies.append(unwrap(reply))
            else:
                replies.append(unwrap(self._call.result()))
        except gyr.RpcError as caught:
            error = caught
        status = self._call.status()
        try:
            initial = self._call.initial_metadata().items()
        except gyr.RpcError:
            initial = []
        trailing = self._call.trailing_metadata().items()
        if error is not None:
            assert (error.code, error.message) == (status.code, status.message)
            assert error.trailing_metadata.items() == trailing
        return Outcome(
            int(status.code), status.message, replies, initial, trailing, status.encoded_details()
        )


class ThreadedClient:
    def __init__(self, channel: gyr.blocking.Channel, threads: ThreadPoolExecutor) -> None:
        self._channel = channel
        self._threads = threads

    def start(
        self, method: Method, requests: Iterable[bytes] | None, **options: Any
    ) -> ThreadedCall:
        kind: Any = {
            gyr.Pattern.UNARY_UNARY: gyr.blocking.UnaryUnary,
            gyr.Pattern.UNARY_STREAM: gyr.blocking.UnaryStream,
            gyr.Pattern.STREAM_UNARY: gyr.blocking.StreamUnary,
            gyr.Pattern.STREAM_STREAM: gyr.blocking.StreamStream,
        }[method.pattern]
        start = kind(self._channel, method)
        if not method.pattern.server_streaming:
            start = start.future
        argument: Any
        if method.pattern.client_streaming:
            argument = None if requests is None else (wrap(method, one) for one in requests)
        else:
            assert requests is not None
            (request,) = requests
            argument = wrap(method, request)
        return ThreadedCall(method, start(argument, **options), self._threads)


@asynccontextmanager
async def threaded_client(
    target: str, *, max_receive_bytes: int | None = None, user_agent: str = ""
) -> AsyncIterator[ThreadedClient]:
    options: dict[str, Any] = {"user_agent": user_agent or None}
    if max_receive_bytes is not None:
        options["max_receive_bytes"] = max_receive_bytes
    with ThreadPoolExecutor(8, "blocking client") as threads:
        channel = gyr.blocking.Channel(target, **options)
        try:
            yield ThreadedClient(channel, threads)
        finally:
            await asyncio.get_running_loop().run_in_executor(threads, channel.close)
