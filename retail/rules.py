"""What an order may be, and how much of it one call may bring."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from .database import MAX_ID_LENGTH
from .proto.order_management_pb2 import Order

MAX_ORDERS: Final = 100_000
"""Different orders that one call of updateOrders or processOrders may name."""

MAX_UPDATE_BYTES: Final = 64 * 2**20
"""Encoded size, in bytes, of the orders that one call of updateOrders may hold."""

MAX_ANSWER_BYTES: Final = 4 * 2**20 - 64
"""Of updateOrders, which names every id: a client takes no larger message than 4 MiB by default,
and one that refuses the answer would not know that its orders are stored."""


class InvalidOrder(ValueError):
    """An order that the shop does not take; the text names the field and its value."""


class TooManyOrders(Exception):
    """One call brings more than the limit that the text names."""


def check_order(order: Order) -> None:
    """Raises InvalidOrder unless the order has an id that can be kept and a price."""
    if not order.id:
        raise InvalidOrder("id is empty: an order is found by its id")
    if len(order.id) > MAX_ID_LENGTH:
        raise InvalidOrder(
            f"id {order.id[:20]!r}… has {len(order.id)} characters: the most is {MAX_ID_LENGTH}"
        )
    if not math.isfinite(order.price):
        raise InvalidOrder(f"price {order.price} of order {order.id!r} is not a finite number")


class Updates:
    """The orders of one updateOrders call: the last of two with the same id counts.

    They are held until the caller has sent them all, because a transaction that stays open while
    a caller takes its time would make every other writer wait.
    """

    def __init__(self, *, max_orders: int, max_bytes: int) -> None:
        self._max_orders = max_orders
        self._max_bytes = max_bytes
        self._orders: dict[str, Order] = {}
        self._bytes = 0
        self._answer_bytes = 0

    def add(self, order: Order) -> None:
        """Raises InvalidOrder, and TooManyOrders at the limit."""
        check_order(order)
        before = self._orders.get(order.id)
        self._bytes += order.ByteSize() - (before.ByteSize() if before is not None else 0)
        self._answer_bytes += 0 if before is not None else len(f"{order.id}, ".encode())
        self._orders[order.id] = order
        if len(self._orders) > self._max_orders:
            raise TooManyOrders(f"one call updates at most {self._max_orders} orders")
        if self._bytes > self._max_bytes:
            raise TooManyOrders(f"the orders of one call have at most {self._max_bytes} bytes")
        if self._answer_bytes > MAX_ANSWER_BYTES:
            raise TooManyOrders(f"the ids of one call have at most {MAX_ANSWER_BYTES} bytes")

    @property
    def orders(self) -> Iterable[Order]:
        """One order for each id, in the order in which the ids came first."""
        return self._orders.values()

    @property
    def answer(self) -> str:
        """What updateOrders answers once they are stored."""
        ids = "".join(f"{order_id}, " for order_id in self._orders)
        return f"Orders processed Updated Order IDs : {ids}"
