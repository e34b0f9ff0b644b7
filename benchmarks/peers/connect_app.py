"""connectrpc: the ASGI application that its server hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import payloads
from benchmarks.protos.bench_connect import Bench, BenchASGIApplication
from benchmarks.protos.bench_pb2 import Chunk, Order, Receipt, Total, Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from connectrpc.request import RequestContext


class BenchService(Bench):
    async def buy(self, request: Order, ctx: RequestContext[Order, Receipt], /) -> Receipt:
        return Receipt(
            order_id=request.id,
            total=request.quantity * request.price,
            text=f"{request.quantity} x {request.item}",
        )

    async def download(
        self, request: Wish, ctx: RequestContext[Wish, Chunk], /
    ) -> AsyncIterator[Chunk]:
        chunk = payloads.chunk(request.size)
        for _ in range(request.count):
            yield chunk

    async def upload(
        self, request: AsyncIterator[Chunk], ctx: RequestContext[Chunk, Total], /
    ) -> Total:
        count = size = 0
        async for chunk in request:
            count += 1
            size += len(chunk.data)
        return Total(count=count, size=size)

    async def chat(
        self, request: AsyncIterator[Chunk], ctx: RequestContext[Chunk, Chunk], /
    ) -> AsyncIterator[Chunk]:
        async for chunk in request:
            yield chunk


# Compression is on by default and no other peer compresses.
app = BenchASGIApplication(BenchService(), compressions=())
