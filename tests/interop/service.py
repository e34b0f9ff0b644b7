"""What the test server does with each call, whichever library and face carries it.

Written as coroutines, which on a blocking face never wait (`faces.run_blocking`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from gyrfalcon.services import LoadReport
from tests.interop.cases.functional import ECHO_INITIAL, ECHO_TRAILING
from tests.interop.cases.orca import report_of
from tests.interop.faces import Pair
from tests.interop.protos.grpc.testing.empty_pb2 import Empty
from tests.interop.protos.grpc.testing.messages_pb2 import (
    COMPRESSABLE,
    BoolValue,
    EchoStatus,
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)

INVALID_ARGUMENT = 3
MOST_BYTES = 4 * 2**20
"""Of one payload; what clients take by default."""


class Context(Protocol):
    """What a library lets a handler do."""

    @property
    def metadata(self) -> list[Pair]: ...
    @property
    def request_compressed(self) -> bool | None:
        """Whether the request that was taken last came compressed; None: it cannot tell."""
        ...

    async def send_initial(self, pairs: list[Pair]) -> None: ...
    def add_trailing(self, key: str, value: str | bytes) -> None: ...
    def report(self, report: LoadReport) -> None:
        """The load of this call."""
        ...

    async def use_compression(self) -> None:
        """Gzip for the replies of this call; before the first one."""
        ...

    def compress(self, compress: bool) -> None:
        """Whether the next reply is compressed."""
        ...

    async def fail(self, code: int, message: str) -> None:
        """End the call; does not return."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class TestService:
    """The service of all calls of one server.

    `set_load`: what the server reports beside the calls; `exclusively`: a lock, because two clients
    that set it at once would see each other's.
    """

    def __init__(
        self,
        set_load: Callable[[LoadReport], None],
        exclusively: Callable[[], AbstractAsyncContextManager[Any]],
    ) -> None:
        self._set_load = set_load
        self._exclusively = exclusively
        self._server_id = str(uuid.uuid4())

    async def empty_call(self, request: Empty, ctx: Context) -> Empty:
        return Empty()

    async def unary_call(self, request: SimpleRequest, ctx: Context) -> SimpleResponse:
        await echo_metadata(ctx)
        await check_compressed(request.HasField("expect_compressed"), request, ctx)
        if request.HasField("response_status"):
            await end_with(request.response_status, ctx)
        if request.HasField("response_compressed") and request.response_compressed.value:
            await ctx.use_compression()
        response = SimpleResponse()
        if request.response_size:
            response.payload.CopyFrom(
                await make_payload(request.response_type, request.response_size, ctx)
            )
        if request.fill_server_id:
            response.server_id = self._server_id
        if request.HasField("orca_per_query_report"):
            ctx.report(report_of(request.orca_per_query_report))
        return response

    async def cacheable_unary_call(self, request: SimpleRequest, ctx: Context) -> SimpleResponse:
        await ctx.send_initial([("cache-control", "max-age=60, public")])
        return SimpleResponse(payload=Payload(body=str(time.time_ns()).encode()))

    async def streaming_input_call(
        self, requests: AsyncIterator[StreamingInputCallRequest], ctx: Context
    ) -> StreamingInputCallResponse:
        size = 0
        async for request in requests:
            await check_compressed(request.HasField("expect_compressed"), request, ctx)
            size += len(request.payload.body)
        return StreamingInputCallResponse(aggregated_payload_size=size)

    async def streaming_output_call(
        self, request: StreamingOutputCallRequest, ctx: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        if any(one.compressed.value for one in request.response_parameters):
            await ctx.use_compression()
        async for reply in replies_to(request, ctx):
            yield reply

    async def full_duplex_call(
        self, requests: AsyncIterator[StreamingOutputCallRequest], ctx: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        await echo_metadata(ctx)
        async with AsyncExitStack() as stack:
            reporting = False
            async for request in requests:
                if request.HasField("orca_oob_report"):
                    if not reporting:
                        await stack.enter_async_context(self._exclusively())
                        reporting = True
                    self._set_load(report_of(request.orca_oob_report))
                async for reply in replies_to(request, ctx):
                    yield reply

    async def half_duplex_call(
        self, requests: AsyncIterator[StreamingOutputCallRequest], ctx: Context
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        for request in [request async for request in requests]:
            async for reply in replies_to(request, ctx):
                yield reply


async def echo_metadata(ctx: Context) -> None:
    came = ctx.metadata
    initial = [pair for pair in came if pair[0] == ECHO_INITIAL[0]]
    if initial:
        await ctx.send_initial(initial)
    for key, value in came:
        if key == ECHO_TRAILING[0]:
            ctx.add_trailing(key, value)


async def check_compressed(asked: bool, request: Any, ctx: Context) -> None:
    """Fail the call if its request did not come as it says; unless this library cannot tell."""
    expected: BoolValue = request.expect_compressed
    came = ctx.request_compressed
    if asked and came is not None and came != expected.value:
        words = {True: "compressed", False: "uncompressed"}
        await ctx.fail(
            INVALID_ARGUMENT, f"the request came {words[came]}, not {words[expected.value]}"
        )


async def end_with(status: EchoStatus, ctx: Context) -> None:
    if status.code:
        await ctx.fail(status.code, status.message)


async def make_payload(kind: int, size: int, ctx: Context) -> Payload:
    if kind != COMPRESSABLE:
        await ctx.fail(INVALID_ARGUMENT, f"there is no payload of type {kind}")
    if not 0 <= size <= MOST_BYTES:
        await ctx.fail(INVALID_ARGUMENT, f"a payload of {size} bytes: 0 to {MOST_BYTES} are made")
    return Payload(body=bytes(size))


async def replies_to(
    request: StreamingOutputCallRequest, ctx: Context
) -> AsyncIterator[StreamingOutputCallResponse]:
    if request.HasField("response_status"):
        await end_with(request.response_status, ctx)
    for asked in request.response_parameters:
        if asked.interval_us > 0:
            await ctx.sleep(asked.interval_us / 1e6)
        payload = await make_payload(request.response_type, asked.size, ctx)
        ctx.compress(asked.compressed.value)
        yield StreamingOutputCallResponse(payload=payload)
