# pyright: reportUnnecessaryTypeIgnoreComment=error
"""What type checkers know of a service: checked, never run.

A line with `type: ignore` is a mistake that they must find: without the error, the comment is one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from retail.proto.order_management_gyr import OrderManagementService
from retail.proto.order_management_pb2 import CombinedShipment, Order


class Asynchronous(OrderManagementService):
    async def get_order(self, request: StringValue, ctx: gyr.ServerContext) -> Order:
        assert_type(ctx.metadata, gyr.Metadata)
        assert_type((ctx.method, ctx.peer, ctx.cancelled), tuple[str, gyr.Peer, bool])
        assert_type((ctx.deadline, ctx.time_remaining()), tuple[float | None, float | None])
        await ctx.send_initial_metadata({"tenant": "eu"})
        ctx.trailing_metadata.add("tenant", "eu")
        ctx.trailing_metadata = {"tenant": ["eu", "us"]}
        ctx.compression = "gzip"
        ctx.compression = gyr.GzipCompression(level=1)
        assert_type(ctx.compress, bool)
        ctx.compress = False

        ctx.compression = 7  # type: ignore[assignment]
        ctx.peer = ctx.peer  # type: ignore[misc]
        ctx.trailing_metadata = "tenant"  # type: ignore[assignment]
        return Order(id=request.value)

    async def search_orders(
        self, request: StringValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[Order]:
        yield Order(id=request.value)

    async def update_orders(
        self, requests: AsyncIterator[Order], ctx: gyr.ServerContext
    ) -> StringValue:
        async for order in requests:
            assert_type(order, Order)
        return StringValue()

    async def process_orders(
        self, requests: gyr.RequestStream[StringValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[CombinedShipment]:
        assert_type(await anext(requests), StringValue)
        async for order_id in requests:
            yield CombinedShipment(id=order_id.value)


class Threaded(OrderManagementService):
    def get_order(self, request: StringValue, ctx: gyr.ServerContext) -> Order:
        # Blocks in a thread: there is nothing to await.
        ctx.send_initial_metadata({"tenant": "eu"})
        return Order(id=request.value)

    def search_orders(self, request: StringValue, ctx: gyr.ServerContext) -> Iterator[Order]:
        yield Order(id=request.value)

    def update_orders(self, requests: Iterator[Order], ctx: gyr.ServerContext) -> StringValue:
        return StringValue(value=next(requests).id)

    def process_orders(
        self, requests: gyr.RequestStream[StringValue], ctx: gyr.ServerContext
    ) -> Iterator[CombinedShipment]:
        for order_id in requests:
            assert_type(order_id, StringValue)
            yield CombinedShipment(id=order_id.value)


class Mixed(OrderManagementService):
    """Names of parameters are the service's own; some methods are left out."""

    async def get_order(self, order_id: StringValue, context: gyr.ServerContext) -> Order:
        return Order(id=order_id.value)

    def search_orders(self, text: StringValue, _: gyr.ServerContext) -> Iterator[Order]:
        return iter([Order(id=text.value)])


class Mistaken(OrderManagementService):
    async def get_order(self, request: Order, ctx: gyr.ServerContext) -> Order:  # type: ignore[override]
        return request

    async def add_order(self, request: Order, ctx: gyr.ServerContext) -> Order:  # type: ignore[override]
        return request

    async def search_orders(self, request: StringValue, ctx: gyr.ServerContext) -> Order:  # type: ignore[override]
        return Order()

    def update_orders(self, requests: list[Order], ctx: gyr.ServerContext) -> StringValue:  # type: ignore[override]
        return StringValue()

    async def process_orders(  # type: ignore[override]
        self, requests: AsyncIterator[StringValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[Order]:
        yield Order()


async def serve() -> None:
    async with gyr.Server([Asynchronous(), Threaded()], max_receive_bytes=2**20) as server:
        assert_type(server, gyr.Server)
        assert_type(await server.listen("127.0.0.1:0"), int)
        await server.wait_closed()
    await server.stop(grace=1.0)

    gyr.Server([object()])  # type: ignore[list-item]
    gyr.Server(Asynchronous())  # type: ignore[arg-type]
    gyr.Server([Asynchronous()], max_receive_bytes="4 MiB")  # type: ignore[arg-type]
    gyr.Server([Asynchronous()], max_recieve_bytes=2**20)  # type: ignore[call-arg]
    server.listen("127.0.0.1:0")  # type: ignore[unused-coroutine]
    server.run(50051)  # type: ignore[arg-type]
