"""Which client talks to which server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.call.service import SAFETY_NET_S
from tests.interop.clients import (
    Client,
    MakeClient,
    Method,
    Outcome,
    aio_client,
    blocking_client,
    gyrfalcon_client,
)
from tests.interop.own_threads import threaded_client
from tests.interop.queue_server import queue_server
from tests.interop.servers import (
    Context,
    Handler,
    MakeServer,
    aio_server,
    gyrfalcon_server,
)
from tests.interop.thread_servers import grpcio_server, threaded_server


@dataclass(frozen=True)
class Pairing:
    """A make of client and a make of server, one of them Gyrfalcon's."""

    make_client: MakeClient
    make_server: MakeServer

    @property
    def own_server(self) -> bool:
        return self.make_server in (gyrfalcon_server, queue_server, threaded_server)

    @property
    def from_aio(self) -> bool:
        return self.make_client is aio_client

    @asynccontextmanager
    async def connect(
        self,
        handler: Handler,
        *,
        raw: bool = False,
        max_request_bytes: int | None = None,
        max_reply_bytes: int | None = None,
        user_agent: str = "",
    ) -> AsyncIterator[Client]:
        """A client of a server with this handler."""
        async with asyncio.timeout(SAFETY_NET_S):
            server = self.make_server(handler, raw=raw, max_receive_bytes=max_request_bytes)
            async with server as target:
                client = self.make_client(
                    target, max_receive_bytes=max_reply_bytes, user_agent=user_agent
                )
                async with client as connected:
                    yield connected


FROM_AIO = Pairing(aio_client, gyrfalcon_server)
FROM_BLOCKING = Pairing(blocking_client, gyrfalcon_server)
TO_AIO = Pairing(gyrfalcon_client, aio_server)
THREADS_TO_AIO = Pairing(threaded_client, aio_server)
THREADS_TO_BLOCKING = Pairing(threaded_client, grpcio_server)
TO_QUEUE = Pairing(blocking_client, queue_server)
AIO_TO_THREADS = Pairing(aio_client, threaded_server)
BLOCKING_TO_THREADS = Pairing(blocking_client, threaded_server)

NAMES = {
    FROM_AIO: "aio-client",
    FROM_BLOCKING: "blocking-client",
    TO_AIO: "aio-server",
    THREADS_TO_AIO: "threads-to-aio-server",
    THREADS_TO_BLOCKING: "threads-to-blocking-server",
    TO_QUEUE: "blocking-client-queue-server",
    AIO_TO_THREADS: "aio-client-threaded-server",
    BLOCKING_TO_THREADS: "blocking-client-threaded-server",
}


def pairings(*chosen: Pairing) -> pytest.MarkDecorator:
    """Runs a test once for each of these."""
    return pytest.mark.parametrize("pairing", chosen, ids=NAMES.get)


every_pairing = pairings(*NAMES)


async def call(
    client: Client, method: Method, requests: Iterable[bytes], **options: Any
) -> Outcome:
    """Make a call and see it through."""
    return await client.start(method, requests, **options).outcome()


async def echo(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
    """A reply to each request."""
    async for request in requests:
        yield request


async def join(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
    """One reply to all requests: they, one after another."""
    yield b"".join([request async for request in requests])
