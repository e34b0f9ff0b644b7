"""gyrfalcon, on uvloop (as `Server.run` chooses) or on the standard event loop."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import gyrfalcon as gyr
from benchmarks import payloads
from benchmarks.peers.drive import drive
from benchmarks.peers.program import WORKERS, Load, announce_and_wait, parse, report, run
from benchmarks.protos.bench_gyr import BenchService, BenchStub
from benchmarks.protos.bench_pb2 import Chunk, Order, Receipt, Total, Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence


class Bench(BenchService):
    async def buy(self, request: Order, ctx: gyr.ServerContext) -> Receipt:
        return Receipt(
            order_id=request.id,
            total=request.quantity * request.price,
            text=f"{request.quantity} x {request.item}",
        )

    async def download(self, request: Wish, ctx: gyr.ServerContext) -> AsyncIterator[Chunk]:
        chunk = payloads.chunk(request.size)
        for _ in range(request.count):
            yield chunk

    async def upload(self, requests: AsyncIterator[Chunk], ctx: gyr.ServerContext) -> Total:
        count = size = 0
        async for chunk in requests:
            count += 1
            size += len(chunk.data)
        return Total(count=count, size=size)

    async def chat(
        self, requests: AsyncIterator[Chunk], ctx: gyr.ServerContext
    ) -> AsyncIterator[Chunk]:
        async for chunk in requests:
            yield chunk


class ThreadedBench(BenchService):
    def buy(self, request: Order, ctx: gyr.ServerContext) -> Receipt:
        return Receipt(
            order_id=request.id,
            total=request.quantity * request.price,
            text=f"{request.quantity} x {request.item}",
        )

    def download(self, request: Wish, ctx: gyr.ServerContext) -> Iterator[Chunk]:
        chunk = payloads.chunk(request.size)
        for _ in range(request.count):
            yield chunk

    def upload(self, requests: Iterator[Chunk], ctx: gyr.ServerContext) -> Total:
        count = size = 0
        for chunk in requests:
            count += 1
            size += len(chunk.data)
        return Total(count=count, size=size)

    def chat(self, requests: Iterator[Chunk], ctx: gyr.ServerContext) -> Iterator[Chunk]:
        yield from requests


class Timing(gyr.Interceptor):
    """The seconds that calls take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began


class Counting(gyr.Interceptor):
    """The calls that fail."""

    def __init__(self) -> None:
        self.failed = 0

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        if outcome.code is not gyr.StatusCode.OK:
            self.failed += 1


class Caller:
    def __init__(self, channel: gyr.Channel) -> None:
        self.stub = BenchStub(channel)
        self.buy = self.stub.buy

    async def download(self, wish: Wish) -> int:
        received = 0
        async for _ in self.stub.download(wish):
            received += 1
        return received

    async def upload(self, chunk: Chunk, count: int) -> Total:
        total: Total = await self.stub.upload(itertools.repeat(chunk, count))
        return total

    async def chat(self, chunk: Chunk, turns: Iterator[int]) -> None:
        async with self.stub.chat() as call:
            for _ in turns:
                await call.send(chunk)
                await call.receive()
            await call.done_sending()


async def serve(load: Load, interceptors: Sequence[gyr.Interceptor] = ()) -> None:
    server = gyr.Server(
        [ThreadedBench() if load.threads else Bench()],
        # 10,000 calls at once on one connection is a scenario; the default is 1,000.
        max_concurrent_streams=20_000,
        max_workers=WORKERS,
        interceptors=interceptors,
        tls=gyr.ServerTLS(load.cert, load.key) if load.cert else None,
    )
    async with server:
        await announce_and_wait(await server.listen("127.0.0.1:0"))


async def call(load: Load, interceptors: Sequence[gyr.Interceptor] = ()) -> None:
    async with gyr.Channel(load.target, interceptors=interceptors) as channel:
        report(await drive(Caller(channel), load))


if __name__ == "__main__":
    verb, loop, load = parse()
    run(serve(load) if verb == "serve" else call(load), loop)
