"""grpc.aio: the asyncio API of grpcio, on the standard event loop as it is documented."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import grpc

from benchmarks import payloads
from benchmarks.peers.drive import drive
from benchmarks.peers.program import Load, announce_and_wait, parse, report, run
from benchmarks.protos import bench_pb2_grpc
from benchmarks.protos.bench_pb2 import Chunk, Order, Receipt, Total, Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Bench(bench_pb2_grpc.BenchServicer):
    async def Buy(self, request: Order, context: grpc.aio.ServicerContext) -> Receipt:
        return Receipt(
            order_id=request.id,
            total=request.quantity * request.price,
            text=f"{request.quantity} x {request.item}",
        )

    async def Download(
        self, request: Wish, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Chunk]:
        chunk = payloads.chunk(request.size)
        for _ in range(request.count):
            yield chunk

    async def Upload(
        self, request_iterator: AsyncIterator[Chunk], context: grpc.aio.ServicerContext
    ) -> Total:
        count = size = 0
        async for chunk in request_iterator:
            count += 1
            size += len(chunk.data)
        return Total(count=count, size=size)

    async def Chat(
        self, request_iterator: AsyncIterator[Chunk], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Chunk]:
        async for chunk in request_iterator:
            yield chunk


class Caller:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub = bench_pb2_grpc.BenchStub(channel)
        self.buy = self.stub.Buy

    async def download(self, wish: Wish) -> int:
        received = 0
        async for _ in self.stub.Download(wish):
            received += 1
        return received

    async def upload(self, chunk: Chunk, count: int) -> Total:
        total: Total = await self.stub.Upload(itertools.repeat(chunk, count))
        return total

    async def chat(self, chunk: Chunk, turns: Iterator[int]) -> None:
        call = self.stub.Chat()
        for _ in turns:
            await call.write(chunk)
            await call.read()
        await call.done_writing()


SERVER_OPTIONS = [
    # Calls that wait for Python to pick them up: the defaults (1,000; 3,000) cancel some of 10,000.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 30_000),
]


def credentials(load: Load) -> grpc.ServerCredentials:
    with open(load.key, "rb") as key, open(load.cert, "rb") as cert:
        return grpc.ssl_server_credentials([(key.read(), cert.read())])


async def serve(load: Load) -> None:
    server = grpc.aio.server(options=SERVER_OPTIONS)
    bench_pb2_grpc.add_BenchServicer_to_server(Bench(), server)
    if load.cert:
        port = server.add_secure_port("127.0.0.1:0", credentials(load))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await announce_and_wait(port)
    await server.stop(grace=None)


async def call(load: Load) -> None:
    async with grpc.aio.insecure_channel(load.target) as channel:
        report(await drive(Caller(channel), load))


if __name__ == "__main__":
    verb, loop, load = parse()
    run(serve(load) if verb == "serve" else call(load), loop)
