"""The classic client without asyncio: `python -m retail.blocking_client`."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr

from .client import CHANGED_ORDERS, NEW_ORDER, Arrival, describe, describe_shipment
from .proto.order_management_gyr import OrderManagementBlockingStub
from .proto.order_management_pb2 import Order


def add_order(orders: OrderManagementBlockingStub, order: Order) -> str:
    """Unary."""
    return orders.add_order(order).value


def get_order(orders: OrderManagementBlockingStub, order_id: str) -> Order:
    """Unary."""
    return orders.get_order(StringValue(value=order_id))


def search_orders(orders: OrderManagementBlockingStub, text: str) -> list[Order]:
    """Server streaming."""
    return list(orders.search_orders(StringValue(value=text)))


def update_orders(orders: OrderManagementBlockingStub, changed: Iterable[Order]) -> str:
    """Client streaming."""
    return orders.update_orders(changed).value


def process_orders(
    orders: OrderManagementBlockingStub,
    first: Sequence[str],
    then: Sequence[str],
    *,
    pause: float,
) -> list[Arrival]:
    """Bidirectional: shipments arrive while the caller still has ids to send.

    Sends the `first` ids, waits `pause` seconds, sends the ids in `then` and is done.
    """
    began = time.monotonic()
    paused = True
    over = threading.Event()

    def requests() -> Iterator[StringValue]:
        # In a thread of its own: it may wait, and holds up nobody who reads.
        nonlocal paused
        for order_id in first:
            yield StringValue(value=order_id)
        over.wait(pause)
        paused = False
        for order_id in then:
            yield StringValue(value=order_id)

    try:
        return [
            Arrival(shipment, time.monotonic() - began, paused)
            for shipment in orders.process_orders(requests())
        ]
    finally:
        over.set()


def run(target: str) -> None:
    with gyr.blocking.Channel(target, default_timeout=30.0) as channel:
        orders = OrderManagementBlockingStub(channel)
        try:
            print("addOrder:", add_order(orders, NEW_ORDER))
        except gyr.AlreadyExists as error:
            print("addOrder:", error.message)
        print("getOrder:", describe(get_order(orders, "106")))
        for order in search_orders(orders, "Google"):
            print("searchOrders:", describe(order))
        print("updateOrders:", update_orders(orders, CHANGED_ORDERS))
        for arrival in process_orders(orders, ["102", "103", "104"], ["101"], pause=1.0):
            when = "while we paused" if arrival.in_pause else "at the end"
            print(f"processOrders, {when}:", describe_shipment(arrival.shipment))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m retail.blocking_client", description=__doc__)
    parser.add_argument("target", nargs="?", default="127.0.0.1:50051", help="default: %(default)s")
    try:
        run(parser.parse_args().target)
    except gyr.RpcError as error:
        sys.exit(f"retail.blocking_client: {error}")


if __name__ == "__main__":
    main()
