"""Serves and calls with the installed package, and checks which libnghttp2 it runs on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr


def method(name: str, pattern: gyr.Pattern) -> gyr.Method[StringValue, StringValue]:
    return gyr.Method("probe.Echo", name, name, pattern, StringValue, StringValue)


UNARY = method("unary", gyr.Pattern.UNARY_UNARY)
DOWN = method("down", gyr.Pattern.UNARY_STREAM)
UP = method("up", gyr.Pattern.STREAM_UNARY)
BOTH = method("both", gyr.Pattern.STREAM_STREAM)
TEXTS = ["", "Grüße", "x" * 300_000]


class EchoService(gyr.Service):
    __gyr_service__: ClassVar[gyr.ServiceDefinition] = gyr.ServiceDefinition(
        "probe.Echo", (UNARY, DOWN, UP, BOTH)
    )


class Echo(EchoService):
    async def unary(self, request: StringValue, ctx: gyr.ServerContext) -> StringValue:
        return request

    async def down(
        self, request: StringValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[StringValue]:
        for text in TEXTS:
            yield StringValue(value=request.value + text)

    async def up(self, requests: Any, ctx: gyr.ServerContext) -> StringValue:
        return StringValue(value="".join([request.value async for request in requests]))

    async def both(self, requests: Any, ctx: gyr.ServerContext) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request


async def serve_and_call() -> None:
    requests = [StringValue(value=text) for text in TEXTS]
    async with gyr.Server([Echo()]) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            assert await gyr.UnaryUnary(channel, UNARY)(requests[2]) == requests[2]
            assert [r async for r in gyr.UnaryStream(channel, DOWN)(requests[0])] == requests
            assert (await gyr.StreamUnary(channel, UP)(requests)).value == "".join(TEXTS)
            assert [r async for r in gyr.StreamStream(channel, BOTH)(requests)] == requests


def check_library() -> None:
    if sys.platform != "linux":
        return
    maps = Path("/proc/self/maps").read_text(encoding="ascii")
    loaded = {line.split()[-1] for line in maps.splitlines() if "libnghttp2" in line}
    assert len(loaded) == 1, loaded
    assert "gyrfalcon.libs" in loaded.copy().pop(), loaded


asyncio.run(serve_and_call())
check_library()
