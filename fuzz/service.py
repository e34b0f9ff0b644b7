"""The service that is fuzzed, with short names: one method of each pattern, and one that waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr

SERVICE = "f.S"


def make_method(name: str, pattern: gyr.Pattern) -> gyr.Method[Any, Any]:
    return gyr.Method(SERVICE, name, name.lower(), pattern, BytesValue, BytesValue)


UNARY = make_method("U", gyr.Pattern.UNARY_UNARY)
SERVER_STREAM = make_method("O", gyr.Pattern.UNARY_STREAM)
CLIENT_STREAM = make_method("I", gyr.Pattern.STREAM_UNARY)
BIDI = make_method("B", gyr.Pattern.STREAM_STREAM)
WAIT = make_method("W", gyr.Pattern.UNARY_UNARY)


class FuzzedService(gyr.Service):
    """What is to be overridden."""

    __gyr_service__: ClassVar[gyr.ServiceDefinition] = gyr.ServiceDefinition(
        SERVICE, (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI, WAIT)
    )


class Fuzzed(FuzzedService):
    """Handlers that never fail by themselves."""

    def __init__(self) -> None:
        self.seen: list[list[tuple[str, str | bytes]]] = []
        """Metadata of the unary calls."""

    async def u(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.seen.append(list(ctx.metadata.items()))
        ctx.trailing_metadata["size-bin"] = b"%d" % len(request.value)
        return request

    async def o(self, request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        await ctx.send_initial_metadata({"from": "o"})
        for _ in range(3):
            yield request

    async def i(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        count = 0
        async for _ in requests:
            count += 1
        return BytesValue(value=b"%d" % count)

    async def b(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            if request.value == b"stop":
                raise gyr.Aborted("as asked", details=[request])
            yield request

    async def w(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await asyncio.Event().wait()
        return request
