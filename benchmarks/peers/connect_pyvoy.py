"""connectrpc over the gRPC protocol; its server hosted by pyvoy, which its documentation names
as the one that passes its conformance tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from connectrpc.protocol import ProtocolType
from pyqwest import Client, HTTPTransport, HTTPVersion
from pyvoy import PyvoyServer

from benchmarks.peers.drive import drive
from benchmarks.peers.program import Load, announce_and_wait, parse, report, run
from benchmarks.protos.bench_connect import BenchClient
from benchmarks.protos.bench_pb2 import Chunk, Total, Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Caller:
    def __init__(self, client: BenchClient) -> None:
        self.client = client
        self.buy = client.buy

    async def download(self, wish: Wish) -> int:
        received = 0
        async for _ in self.client.download(wish):
            received += 1
        return received

    async def upload(self, chunk: Chunk, count: int) -> Total:
        async def chunks() -> AsyncIterator[Chunk]:
            for _ in range(count):
                yield chunk

        return await self.client.upload(chunks())

    async def chat(self, chunk: Chunk, turns: Iterator[int]) -> None:
        outgoing: asyncio.Queue[Chunk | None] = asyncio.Queue()

        async def chunks() -> AsyncIterator[Chunk]:
            while (item := await outgoing.get()) is not None:
                yield item

        replies = self.client.chat(chunks())
        for _ in turns:
            outgoing.put_nowait(chunk)
            await anext(replies)
        outgoing.put_nowait(None)
        async for _ in replies:
            raise AssertionError("a reply that no chunk asked for")


async def serve() -> None:
    # One worker thread: one core serves, as with every other peer.
    async with PyvoyServer(
        "benchmarks.peers.connect_app",
        worker_threads=1,
        additional_envoy_args=["--concurrency", "1"],
    ) as server:
        await announce_and_wait(server.listener_port)


async def call(load: Load) -> None:
    async with (
        HTTPTransport(http_version=HTTPVersion.HTTP2) as transport,
        BenchClient(
            f"http://{load.target}",
            protocol=ProtocolType.GRPC,
            accept_compression=(),
            send_compression=None,
            http_client=Client(transport),
        ) as client,
    ):
        report(await drive(Caller(client), load))


if __name__ == "__main__":
    verb, loop, load = parse()
    run(serve() if verb == "serve" else call(load), loop)
