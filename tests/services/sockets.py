"""A stub of a channel to a server over a socket, for tests of what is told of sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, Calls, Stub


class SocketStub(Stub):
    """The four methods on a channel, and the server at its other end."""

    server: gyr.Server
    target: str


@asynccontextmanager
async def serving(
    server_options: Mapping[str, Any] | None = None,
    channel_options: Mapping[str, Any] | None = None,
    **handlers: Any,
) -> AsyncIterator[SocketStub]:
    """A stub of a channel to a server with these handlers."""
    async with (
        asyncio.timeout(SAFETY_NET_S),
        gyr.Server([Calls(**handlers)], **(server_options or {})) as server,
    ):
        target = f"127.0.0.1:{await server.listen('127.0.0.1:0')}"
        async with gyr.Channel(target, **(channel_options or {})) as channel:
            stub = SocketStub(channel)
            stub.server = server
            stub.target = target
            yield stub
