"""How processOrders makes shipments of orders. The state is that of one call."""

from __future__ import annotations

import string
import uuid
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from .proto.order_management_pb2 import CombinedShipment, Order
from .rules import TooManyOrders

STATUS: Final = "Processed!"

MAX_REPORT_BYTES: Final = 4096
"""Of unknown ids in the trailing metadata: half of the 8 KiB that every gRPC peer takes."""

_UNQUOTED: Final = "".join(set(string.punctuation) - set("%,"))


class ShipmentBatcher:
    """Collects orders until there are `batch_size`, then ships them by destination.

    The shipments of a batch come in the order in which their destinations came first.
    """

    def __init__(self, batch_size: int, *, max_orders: int) -> None:
        self._batch_size = batch_size
        self._max_orders = max_orders
        self._accepted: set[str] = set()
        self._open: dict[str, list[Order]] = {}
        self._open_count = 0

    def __contains__(self, order_id: str) -> bool:
        """Whether this call has accepted an order with this id, shipped or not."""
        return order_id in self._accepted

    def accept(self, order: Order) -> Iterator[CombinedShipment]:
        """Takes an order, once for each id; the shipments of the batch that it completes.

        Raises TooManyOrders at the limit.
        """
        if order.id in self._accepted:
            return iter(())
        if len(self._accepted) >= self._max_orders:
            raise TooManyOrders(f"one call ships at most {self._max_orders} orders")
        self._accepted.add(order.id)
        self._open.setdefault(order.destination, []).append(order)
        self._open_count += 1
        return self.flush() if self._open_count == self._batch_size else iter(())

    def flush(self) -> Iterator[CombinedShipment]:
        """The shipments of all that is open; none when nothing is."""
        groups, self._open, self._open_count = self._open, {}, 0
        return (
            CombinedShipment(id=f"shipment-{uuid.uuid4()}", status=STATUS, ordersList=group)
            for group in groups.values()
        )


class UnknownOrders:
    """Ids without an order, written so that they fit in trailing metadata.

    `ids` has each id once; what is not printable ASCII, spaces, `%` and `,` are percent-encoded.
    Ids that would take them over MAX_REPORT_BYTES, commas between them included, are only counted,
    in `omitted`.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._bytes = 0
        self.omitted = 0

    @property
    def ids(self) -> list[str]:
        return list(self._ids)

    def add(self, order_id: str) -> None:
        written = quote(order_id[:MAX_REPORT_BYTES], safe=_UNQUOTED)
        if written in self._ids:
            return
        size = len(written) + 1
        if len(order_id) > MAX_REPORT_BYTES or self._bytes + size > MAX_REPORT_BYTES:
            self.omitted += 1
            return
        self._ids[written] = None
        self._bytes += size
