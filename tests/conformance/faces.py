"""The steps of a call on the asyncio face and on the blocking one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from google.protobuf.message import Message

import gyrfalcon as gyr
from gyrfalcon import blocking
from tests.conformance.conversation import Script

ResultT = TypeVar("ResultT")

ASYNCIO = {
    gyr.Pattern.UNARY_UNARY: gyr.UnaryUnary,
    gyr.Pattern.UNARY_STREAM: gyr.UnaryStream,
    gyr.Pattern.STREAM_UNARY: gyr.StreamUnary,
    gyr.Pattern.STREAM_STREAM: gyr.StreamStream,
}
BLOCKING = {
    gyr.Pattern.UNARY_UNARY: blocking.UnaryUnary,
    gyr.Pattern.UNARY_STREAM: blocking.UnaryStream,
    gyr.Pattern.STREAM_UNARY: blocking.StreamUnary,
    gyr.Pattern.STREAM_STREAM: blocking.StreamStream,
}


class AsyncioSteps:
    """A call of `gyr.Channel`."""

    def __init__(self, script: Script, channel: gyr.Channel, options: dict[str, Any]) -> None:
        pattern = script.method.pattern
        make: Any = ASYNCIO[pattern](channel, script.method)
        self._call = make(*([] if pattern.client_streaming else script.requests), **options)
        self._one_reply = not pattern.server_streaming
        self._replied = False

    async def send(self, request: Message) -> None:
        await self._call.send(request)

    async def done_sending(self) -> None:
        await self._call.done_sending()

    async def receive(self) -> Any:
        if not self._one_reply:
            return await self._call.receive()
        if self._replied:
            return None
        self._replied = True
        return await self._call

    async def status(self) -> gyr.Status:
        status: gyr.Status = await self._call.status()
        return status

    async def initial_metadata(self) -> gyr.Metadata:
        metadata: gyr.Metadata = await self._call.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> gyr.Metadata:
        metadata: gyr.Metadata = await self._call.trailing_metadata()
        return metadata

    def cancel(self) -> object:
        return self._call.cancel()

    async def pause(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)


class BlockingSteps:
    """A call of `gyr.blocking.Channel`: each step returns when it is done, without awaiting.

    Where there is one reply the call is a future, because that alone can be cancelled before the
    reply, and has metadata.
    """

    def __init__(self, script: Script, channel: blocking.Channel, options: dict[str, Any]) -> None:
        pattern = script.method.pattern
        make: Any = BLOCKING[pattern](channel, script.method)
        self._one_reply = not pattern.server_streaming
        self._call = (make.future if self._one_reply else make)(
            *([] if pattern.client_streaming else script.requests), **options
        )
        self._replied = False

    async def send(self, request: Message) -> None:
        self._call.send(request)

    async def done_sending(self) -> None:
        self._call.done_sending()

    async def receive(self) -> Any:
        if not self._one_reply:
            return self._call.receive()
        if self._replied:
            return None
        self._replied = True
        return self._call.result()

    async def status(self) -> gyr.Status:
        status: gyr.Status = self._call.status()
        return status

    async def initial_metadata(self) -> gyr.Metadata:
        metadata: gyr.Metadata = self._call.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> gyr.Metadata:
        metadata: gyr.Metadata = self._call.trailing_metadata()
        return metadata

    def cancel(self) -> object:
        return self._call.cancel()

    async def pause(self, seconds: float) -> None:
        if seconds:
            time.sleep(seconds)  # noqa: ASYNC251 - as long as the runner asks for


def run_without_loop(steps: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine whose steps all block: it never gives up control before its end."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: ResultT = end.value
        return result
    steps.close()
    raise RuntimeError("a step of the blocking face has awaited something")
