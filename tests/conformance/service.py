"""The service that the runner's reference client calls: each request says how it is answered.

What a call is answered is the same for handlers on the loop and in threads; a `Waits` is the
difference between them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from typing import Any, Protocol, cast

import gyrfalcon as gyr
from tests.conformance.faces import run_without_loop
from tests.conformance.proto.connectrpc.conformance.v1 import service_pb2 as pb
from tests.conformance.proto.connectrpc.conformance.v1.service_gyr import ConformanceServiceService
from tests.conformance.protocol import headers_of, metadata_of, packed

Payload = pb.ConformancePayload


class Waits(Protocol):
    """What a handler waits for."""

    async def open(self, ctx: gyr.ServerContext, headers: Iterable[pb.Header]) -> None:
        """Send the head of the response."""

    async def pause(self, milliseconds: int) -> None: ...


class OnLoop:
    async def open(self, ctx: gyr.ServerContext, headers: Iterable[pb.Header]) -> None:
        await ctx.send_initial_metadata(metadata_of(headers))

    async def pause(self, milliseconds: int) -> None:
        if milliseconds:
            await asyncio.sleep(milliseconds / 1000)


class InThread:
    """Blocks, and awaits nothing."""

    async def open(self, ctx: gyr.ServerContext, headers: Iterable[pb.Header]) -> None:
        ctx.send_initial_metadata(metadata_of(headers))

    async def pause(self, milliseconds: int) -> None:
        if milliseconds:
            time.sleep(milliseconds / 1000)  # noqa: ASYNC251 - as long as the runner asks for


class Observed:
    """What a call has shown so far, and what of it has been told."""

    def __init__(self, ctx: gyr.ServerContext) -> None:
        self._headers = headers_of(ctx.metadata)
        remaining = ctx.time_remaining()
        self._timeout_ms = None if remaining is None else round(remaining * 1000)
        self._requests: list[Any] = []
        self._told = False

    def take(self, request: Any) -> None:
        self._requests.append(packed(request))

    def tell(self) -> Payload.RequestInfo | None:
        """Head and requests the first time, then the requests that came since; None if none did."""
        if self._told and not self._requests:
            return None
        info = Payload.RequestInfo(requests=self._requests)
        if not self._told:
            info.request_headers.extend(self._headers)
            if self._timeout_ms is not None:
                info.timeout_ms = self._timeout_ms
        self._told = True
        self._requests = []
        return info

    def fail(self, error: pb.Error) -> gyr.RpcError:
        """The error to raise; it tells what nothing has told before."""
        details: list[Any] = list(error.details)
        if not self._told:
            details.append(self.tell())
        return gyr.RpcError(error.message, code=gyr.StatusCode(error.code), details=details)


async def answer_once(
    waits: Waits, ctx: gyr.ServerContext, requests: AsyncIterator[Any]
) -> Payload:
    """The one reply of a unary or a client-streaming call."""
    observed = Observed(ctx)
    definition = None
    first = True
    async for request in requests:
        if first and request.HasField("response_definition"):
            definition = request.response_definition
        first = False
        observed.take(request)
    if definition is None:
        return Payload(request_info=observed.tell())
    ctx.trailing_metadata = metadata_of(definition.response_trailers)
    await waits.pause(definition.response_delay_ms)
    if definition.response_headers:
        await waits.open(ctx, definition.response_headers)
    if definition.HasField("error"):
        raise observed.fail(definition.error)
    return Payload(data=definition.response_data, request_info=observed.tell())


async def answer_many(
    waits: Waits, ctx: gyr.ServerContext, requests: AsyncIterator[Any]
) -> AsyncIterator[Payload]:
    """The replies of a server-streaming or bidirectional call.

    In full duplex one follows each request; what is left then, and all of them otherwise, follow
    the last.
    """
    observed = Observed(ctx)
    definition = pb.StreamResponseDefinition()
    replies: Iterator[bytes] = iter(())
    first, full_duplex = True, False
    async for request in requests:
        observed.take(request)
        if first:
            first = False
            full_duplex = getattr(request, "full_duplex", False)
            if request.HasField("response_definition"):
                definition = request.response_definition
                replies = iter(definition.response_data)
                ctx.trailing_metadata = metadata_of(definition.response_trailers)
                await waits.open(ctx, definition.response_headers)
        if full_duplex:
            data = next(replies, None)
            if data is None:
                break
            await waits.pause(definition.response_delay_ms)
            yield Payload(data=data, request_info=observed.tell())
    for data in replies:
        await waits.pause(definition.response_delay_ms)
        yield Payload(data=data, request_info=observed.tell())
    if definition.HasField("error"):
        raise observed.fail(definition.error)


async def each(requests: Iterable[Any]) -> AsyncIterator[Any]:
    for request in requests:
        yield request


def replies_without_loop(replies: AsyncIterator[Any]) -> Iterator[Any]:
    """What an asynchronous generator yields that awaits nothing."""
    while True:
        try:
            reply: Any = run_without_loop(cast("Coroutine[Any, Any, Any]", replies.__anext__()))
        except StopAsyncIteration:
            return
        yield reply


class LoopConformance(ConformanceServiceService):
    """Handlers on the event loop."""

    async def unary(self, request: pb.UnaryRequest, ctx: gyr.ServerContext) -> pb.UnaryResponse:
        return pb.UnaryResponse(payload=await answer_once(OnLoop(), ctx, each([request])))

    async def idempotent_unary(
        self, request: pb.IdempotentUnaryRequest, ctx: gyr.ServerContext
    ) -> pb.IdempotentUnaryResponse:
        return pb.IdempotentUnaryResponse(payload=await answer_once(OnLoop(), ctx, each([request])))

    async def client_stream(
        self, requests: AsyncIterator[pb.ClientStreamRequest], ctx: gyr.ServerContext
    ) -> pb.ClientStreamResponse:
        return pb.ClientStreamResponse(payload=await answer_once(OnLoop(), ctx, requests))

    async def server_stream(
        self, request: pb.ServerStreamRequest, ctx: gyr.ServerContext
    ) -> AsyncIterator[pb.ServerStreamResponse]:
        async for payload in answer_many(OnLoop(), ctx, each([request])):
            yield pb.ServerStreamResponse(payload=payload)

    async def bidi_stream(
        self, requests: AsyncIterator[pb.BidiStreamRequest], ctx: gyr.ServerContext
    ) -> AsyncIterator[pb.BidiStreamResponse]:
        async for payload in answer_many(OnLoop(), ctx, requests):
            yield pb.BidiStreamResponse(payload=payload)


class ThreadConformance(ConformanceServiceService):
    """Handlers in worker threads."""

    def unary(self, request: pb.UnaryRequest, ctx: gyr.ServerContext) -> pb.UnaryResponse:
        payload = run_without_loop(answer_once(InThread(), ctx, each([request])))
        return pb.UnaryResponse(payload=payload)

    def idempotent_unary(
        self, request: pb.IdempotentUnaryRequest, ctx: gyr.ServerContext
    ) -> pb.IdempotentUnaryResponse:
        payload = run_without_loop(answer_once(InThread(), ctx, each([request])))
        return pb.IdempotentUnaryResponse(payload=payload)

    def client_stream(
        self, requests: Iterator[pb.ClientStreamRequest], ctx: gyr.ServerContext
    ) -> pb.ClientStreamResponse:
        payload = run_without_loop(answer_once(InThread(), ctx, each(requests)))
        return pb.ClientStreamResponse(payload=payload)

    def server_stream(
        self, request: pb.ServerStreamRequest, ctx: gyr.ServerContext
    ) -> Iterator[pb.ServerStreamResponse]:
        for payload in replies_without_loop(answer_many(InThread(), ctx, each([request]))):
            yield pb.ServerStreamResponse(payload=payload)

    def bidi_stream(
        self, requests: Iterator[pb.BidiStreamRequest], ctx: gyr.ServerContext
    ) -> Iterator[pb.BidiStreamResponse]:
        for payload in replies_without_loop(answer_many(InThread(), ctx, each(requests))):
            yield pb.BidiStreamResponse(payload=payload)
