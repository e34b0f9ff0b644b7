"""The four patterns asked alike, on both faces: one question, the replies or the error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import serve
from tests.blocking.service import BlockingStub
from tests.call.service import SAFETY_NET_S, Calls, Stub, collect, message

FACES = ("asyncio", "blocking")
PATTERNS = ("unary", "server_stream", "client_stream", "bidi")

Ask = Callable[..., Awaitable[list[bytes]]]
"""`await ask(pattern, *requests, **options)` returns what the replies hold."""


async def ask_asyncio(stub: Stub, pattern: str, *requests: bytes, **options: Any) -> list[bytes]:
    method = getattr(stub, pattern)
    sent = [message(data) for data in requests]
    call = method(sent if pattern in ("client_stream", "bidi") else sent[0], **options)
    if pattern in ("unary", "client_stream"):
        return [(await call).value]
    return await collect(call)


def ask_blocking(stub: BlockingStub, pattern: str, *requests: bytes, **options: Any) -> list[bytes]:
    method = getattr(stub, pattern)
    sent = [message(data) for data in requests]
    found = method(sent if pattern in ("client_stream", "bidi") else sent[0], **options)
    if pattern in ("unary", "client_stream"):
        return [found.value]
    return [one.value for one in found]


@asynccontextmanager
async def asking(
    face: str,
    server_options: Mapping[str, Any] | None = None,
    channel_options: Mapping[str, Any] | None = None,
    **handlers: Any,
) -> AsyncIterator[Ask]:
    """A server with these handlers, and the way to ask it from one face."""
    served = serve(Calls(**handlers), server_options=server_options)
    async with asyncio.timeout(SAFETY_NET_S), served:
        if face == "asyncio":
            stub = Stub(served.channel(**channel_options or {}))

            async def ask(pattern: str, *requests: bytes, **options: Any) -> list[bytes]:
                return await ask_asyncio(stub, pattern, *requests, **options)
        else:
            blocking = BlockingStub(served.blocking_channel(**channel_options or {}))

            async def ask(pattern: str, *requests: bytes, **options: Any) -> list[bytes]:
                return await asyncio.to_thread(
                    ask_blocking, blocking, pattern, *requests, **options
                )

        yield ask


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def twice(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    yield request
    yield request


async def join(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return message(b"".join([one.value async for one in requests]))


async def echo_each(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for one in requests:
        yield one


HANDLERS: dict[str, Any] = {
    "unary": echo,
    "server_stream": twice,
    "client_stream": join,
    "bidi": echo_each,
}
REPLIES: dict[str, list[bytes]] = {
    "unary": [b"a"],
    "server_stream": [b"a", b"a"],
    "client_stream": [b"a"],
    "bidi": [b"a"],
}
"""To the one request "a"."""
