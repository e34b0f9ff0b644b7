"""The classic client, which shows all four patterns: `python -m retail.client`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr

from .proto.order_management_gyr import OrderManagementStub
from .proto.order_management_pb2 import CombinedShipment, Order

NEW_ORDER: Final = Order(
    id="101", items=["iPhone XS", "Mac Book Pro"], destination="San Jose, CA", price=2300.0
)

CHANGED_ORDERS: Final = (
    Order(
        id="102",
        items=["Google Pixel 3A", "Google Pixel Book"],
        destination="Mountain View, CA",
        price=1100.0,
    ),
    Order(
        id="103",
        items=["Apple Watch S4", "Mac Book Pro", "iPad Pro"],
        destination="San Jose, CA",
        price=2800.0,
    ),
    Order(
        id="104",
        items=["Google Home Mini", "Google Nest Hub", "iPad Mini"],
        destination="Mountain View, CA",
        price=2200.0,
    ),
)


async def add_order(orders: OrderManagementStub, order: Order) -> str:
    """Unary."""
    return (await orders.add_order(order)).value


async def get_order(orders: OrderManagementStub, order_id: str) -> Order:
    """Unary."""
    return await orders.get_order(StringValue(value=order_id))


async def search_orders(orders: OrderManagementStub, text: str) -> list[Order]:
    """Server streaming."""
    return [order async for order in orders.search_orders(StringValue(value=text))]


async def update_orders(orders: OrderManagementStub, changed: Sequence[Order]) -> str:
    """Client streaming: any iterable, asynchronous or not, will do."""
    return (await orders.update_orders(changed)).value


class Arrival(NamedTuple):
    """A shipment, and when it came."""

    shipment: CombinedShipment
    seconds: float
    """Since the call began."""
    in_pause: bool
    """Before the caller's pause was over."""


async def process_orders(
    orders: OrderManagementStub, first: Sequence[str], then: Sequence[str], *, pause: float
) -> list[Arrival]:
    """Bidirectional: shipments arrive while the caller still has ids to send.

    Sends the `first` ids, waits `pause` seconds, sends the ids in `then` and is done.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    paused = True

    async def requests() -> AsyncIterator[StringValue]:
        nonlocal paused
        for order_id in first:
            yield StringValue(value=order_id)
        await asyncio.sleep(pause)
        paused = False
        for order_id in then:
            yield StringValue(value=order_id)

    return [
        Arrival(shipment, clock() - began, paused)
        async for shipment in orders.process_orders(requests())
    ]


async def run(target: str) -> None:
    async with gyr.Channel(target, default_timeout=30.0) as channel:
        orders = OrderManagementStub(channel)
        try:
            print("addOrder:", await add_order(orders, NEW_ORDER))
        except gyr.AlreadyExists as error:
            print("addOrder:", error.message)
        print("getOrder:", describe(await get_order(orders, "106")))
        for order in await search_orders(orders, "Google"):
            print("searchOrders:", describe(order))
        print("updateOrders:", await update_orders(orders, CHANGED_ORDERS))
        for arrival in await process_orders(orders, ["102", "103", "104"], ["101"], pause=1.0):
            when = "while we paused" if arrival.in_pause else "at the end"
            print(f"processOrders, {when}:", describe_shipment(arrival.shipment))


def describe(order: Order) -> str:
    return f"{order.id}: {', '.join(order.items)} to {order.destination} for {order.price:g}"


def describe_shipment(shipment: CombinedShipment) -> str:
    ids = ", ".join(order.id for order in shipment.ordersList)
    return f"{shipment.status} [{ids}] to {shipment.ordersList[0].destination}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m retail.client", description=__doc__)
    parser.add_argument("target", nargs="?", default="127.0.0.1:50051", help="default: %(default)s")
    try:
        asyncio.run(run(parser.parse_args().target))
    except gyr.RpcError as error:
        sys.exit(f"retail.client: {error}")


if __name__ == "__main__":
    main()
