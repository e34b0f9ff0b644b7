"""OrderManagement: the contract's rules on top of a store."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr

from .proto.order_management_gyr import OrderManagementService
from .proto.order_management_pb2 import CombinedShipment, Order
from .rules import MAX_ORDERS, MAX_UPDATE_BYTES, InvalidOrder, TooManyOrders, Updates, check_order
from .shipments import ShipmentBatcher, UnknownOrders
from .store import OrderStore, StoreUnavailable, UnstorableText

logger = logging.getLogger(__name__)


class OrderManagement(OrderManagementService):
    """Serves the orders of `store`.

    `batch_size` is the number of orders that processOrders ships together; `max_orders` and
    `max_update_bytes` bound what the server holds for one call, which fails with
    RESOURCE_EXHAUSTED beyond them. A database that does not answer is UNAVAILABLE.
    """

    def __init__(
        self,
        store: OrderStore,
        *,
        batch_size: int = 3,
        max_orders: int = MAX_ORDERS,
        max_update_bytes: int = MAX_UPDATE_BYTES,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: a batch has at least 1 order")
        self._store = store
        self._batch_size = batch_size
        self._max_orders = max_orders
        self._max_update_bytes = max_update_bytes

    async def add_order(self, request: Order, ctx: gyr.ServerContext) -> StringValue:
        with _as_status():
            check_order(request)
            if not await self._store.add(request):
                raise gyr.AlreadyExists(f"there is an order {request.id!r} already")
        return StringValue(value=f"Order Added: {request.id}")

    async def get_order(self, request: StringValue, ctx: gyr.ServerContext) -> Order:
        with _as_status():
            order = await self._store.find(request.value)
        if order is None:
            raise gyr.NotFound(f"no order {request.value!r}")
        return order

    async def search_orders(
        self, request: StringValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[Order]:
        with _as_status():
            async with aclosing(self._store.matching(request.value)) as matching:
                async for order in matching:
                    yield order

    async def update_orders(
        self, requests: AsyncIterator[Order], ctx: gyr.ServerContext
    ) -> StringValue:
        updates = Updates(max_orders=self._max_orders, max_bytes=self._max_update_bytes)
        with _as_status():
            async for order in requests:
                updates.add(order)
            await self._store.replace(updates.orders)
        return StringValue(value=updates.answer)

    async def process_orders(
        self, requests: AsyncIterator[StringValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[CombinedShipment]:
        batcher = ShipmentBatcher(self._batch_size, max_orders=self._max_orders)
        unknown = UnknownOrders()
        with _as_status():
            async for request in requests:
                if request.value in batcher:
                    continue
                order = await self._store.find(request.value)
                if order is None:
                    unknown.add(request.value)
                    continue
                for shipment in batcher.accept(order):
                    yield shipment
        for shipment in batcher.flush():
            yield shipment
        _report(unknown, ctx.trailing_metadata)


def _report(unknown: UnknownOrders, trailers: gyr.Metadata) -> None:
    if unknown.ids:
        trailers.add("unknown-order-ids", ",".join(unknown.ids))
    if unknown.omitted:
        trailers.add("unknown-order-ids-omitted", str(unknown.omitted))


@contextmanager
def _as_status() -> Iterator[None]:
    """Turns what the rules and the store raise into the status that the caller gets."""
    try:
        yield
    except (InvalidOrder, UnstorableText) as error:
        raise gyr.InvalidArgument(str(error)) from error
    except TooManyOrders as error:
        raise gyr.ResourceExhausted(str(error)) from error
    except StoreUnavailable as error:
        # The driver's text may name hosts and files, which are not the caller's business.
        logger.warning("%s", error)
        raise gyr.Unavailable("the database of orders does not answer") from error
