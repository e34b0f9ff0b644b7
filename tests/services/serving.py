"""A server with the services of this folder beside one of its own, and a channel to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from retail.proto.order_management_gyr import OrderManagementService
from retail.proto.order_management_pb2 import Order
from tests.call.service import SAFETY_NET_S

OWN = "ecommerce.OrderManagement"


class Orders(OrderManagementService):
    """Knows every order but "none"."""

    async def get_order(self, request: StringValue, ctx: gyr.ServerContext, /) -> Order:
        if request.value == "none":
            raise gyr.NotFound("no order 'none'")
        return Order(id=request.value)


@asynccontextmanager
async def joined(*services: gyr.Service) -> AsyncIterator[tuple[gyr.Server, gyr.Channel]]:
    """A server of these services and `Orders`, and a channel to it."""
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([Orders(), *services]) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            yield server, channel
