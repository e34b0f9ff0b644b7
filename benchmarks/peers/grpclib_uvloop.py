"""grpclib: pure Python over h2, on uvloop."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, cast

from grpclib.client import Channel
from grpclib.server import Server, Stream

from benchmarks import payloads
from benchmarks.peers.drive import drive
from benchmarks.peers.program import Load, announce_and_wait, parse, report, run
from benchmarks.protos.bench_grpc import BenchBase, BenchStub
from benchmarks.protos.bench_pb2 import Chunk, Order, Receipt, Total, Wish

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator


class Bench(BenchBase):
    async def Buy(self, stream: Stream[Order, Receipt]) -> None:
        request = await stream.recv_message()
        assert request is not None
        await stream.send_message(
            Receipt(
                order_id=request.id,
                total=request.quantity * request.price,
                text=f"{request.quantity} x {request.item}",
            )
        )

    async def Download(self, stream: Stream[Wish, Chunk]) -> None:
        request = await stream.recv_message()
        assert request is not None
        chunk = payloads.chunk(request.size)
        for _ in range(request.count):
            await stream.send_message(chunk)

    async def Upload(self, stream: Stream[Chunk, Total]) -> None:
        count = size = 0
        async for chunk in stream:
            count += 1
            size += len(chunk.data)
        await stream.send_message(Total(count=count, size=size))

    async def Chat(self, stream: Stream[Chunk, Chunk]) -> None:
        async for chunk in stream:
            await stream.send_message(chunk)


class Caller:
    def __init__(self, channel: Channel) -> None:
        self.stub = BenchStub(channel)
        self.buy = self.stub.Buy

    async def download(self, wish: Wish) -> int:
        received = 0
        async with self.stub.Download.open() as stream:
            await stream.send_message(wish, end=True)
            async for _ in stream:
                received += 1
        return received

    async def upload(self, chunk: Chunk, count: int) -> Total:
        async with self.stub.Upload.open() as stream:
            for _ in range(count):
                await stream.send_message(chunk)
            await stream.end()
            total = await stream.recv_message()
        assert total is not None
        return total

    async def chat(self, chunk: Chunk, turns: Iterator[int]) -> None:
        async with self.stub.Chat.open() as stream:
            for _ in turns:
                await stream.send_message(chunk)
                await stream.recv_message()
            await stream.end()


def context(load: Load) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(load.cert, load.key)
    made.set_alpn_protocols(["h2"])
    return made


async def serve(load: Load) -> None:
    server = Server([Bench()])
    await server.start("127.0.0.1", 0, ssl=context(load) if load.cert else None)
    # grpclib has no public way to learn the port it was given.
    listening = cast("asyncio.Server", server._server)
    await announce_and_wait(listening.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


async def call(load: Load) -> None:
    async with Channel("127.0.0.1", load.port) as channel:
        report(await drive(Caller(channel), load))


if __name__ == "__main__":
    verb, loop, load = parse()
    run(serve(load) if verb == "serve" else call(load), loop)
