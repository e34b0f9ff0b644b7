"""OrderManagement over the wire: the contract, rule by rule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, serve
from retail.client import CHANGED_ORDERS, NEW_ORDER
from retail.proto.order_management_gyr import OrderManagementStub
from retail.proto.order_management_pb2 import CombinedShipment, Order
from retail.sample import SAMPLE_ORDERS
from retail.service import OrderManagement
from retail.store import OrderStore, StoreUnavailable, open_store

pytestmark = pytest.mark.anyio

UPDATED = "Orders processed Updated Order IDs : "


@asynccontextmanager
async def shop(
    url: str, *, orders: Sequence[Order] = SAMPLE_ORDERS, **options: Any
) -> AsyncIterator[OrderManagementStub]:
    async with (
        open_store(url, first_orders=orders) as store,
        serve(OrderManagement(store, **options)) as channel,
    ):
        yield OrderManagementStub(channel)


def values(*texts: str) -> list[StringValue]:
    return [StringValue(value=text) for text in texts]


def value(text: str) -> StringValue:
    return StringValue(value=text)


def ids(shipments: Iterable[CombinedShipment]) -> list[list[str]]:
    return [[order.id for order in shipment.ordersList] for shipment in shipments]


# ---------------------------------------------------------------- addOrder, getOrder, searchOrders


async def test_an_order_is_added_and_got(database_url: str) -> None:
    async with shop(database_url) as orders:
        assert await orders.add_order(NEW_ORDER) == value("Order Added: 101")
        assert await orders.get_order(value("101")) == NEW_ORDER


async def test_an_order_that_exists_is_not_added_again(database_url: str) -> None:
    async with shop(database_url) as orders:
        with pytest.raises(gyr.AlreadyExists, match="102"):
            await orders.add_order(Order(id="102", price=1))
        assert await orders.get_order(value("102")) == SAMPLE_ORDERS[0]


@pytest.mark.parametrize(
    ("order", "named"),
    [(Order(items=["x"]), "id"), (Order(id="7", price=float("nan")), "price")],
)
async def test_an_order_that_cannot_be_is_refused_by_field(
    sqlite_url: str, order: Order, named: str
) -> None:
    async with shop(sqlite_url) as orders:
        with pytest.raises(gyr.InvalidArgument, match=named):
            await orders.add_order(order)
        with pytest.raises(gyr.InvalidArgument, match=named):
            await orders.update_orders([Order(id="102"), order])
        assert await orders.get_order(value("102")) == SAMPLE_ORDERS[0]


@pytest.mark.parametrize("order_id", ["999", "", "Zürich", "%"])
async def test_an_unknown_order_is_named(sqlite_url: str, order_id: str) -> None:
    async with shop(sqlite_url) as orders:
        with pytest.raises(gyr.NotFound) as caught:
            await orders.get_order(value(order_id))
        assert caught.value.message == f"no order {order_id!r}"


async def test_search_finds_each_order_once(database_url: str) -> None:
    async with shop(database_url) as orders:
        assert [order async for order in orders.search_orders(value("Google"))] == [
            SAMPLE_ORDERS[0],
            SAMPLE_ORDERS[2],
        ]
        assert [order async for order in orders.search_orders(value("google"))] == []
        assert [order async for order in orders.search_orders(value("%"))] == []
        assert [order async for order in orders.search_orders(value(""))] == list(SAMPLE_ORDERS)


# ---------------------------------------------------------------- updateOrders


async def test_updates_are_stored_and_named(database_url: str) -> None:
    async with shop(database_url) as orders:
        answer = await orders.update_orders(CHANGED_ORDERS)
        assert answer == value(f"{UPDATED}102, 103, 104, ")
        for changed in CHANGED_ORDERS:
            assert await orders.get_order(value(changed.id)) == changed


async def test_updates_create_unknown_orders_and_the_last_of_equal_ids_wins(
    database_url: str,
) -> None:
    async with shop(database_url) as orders:
        sent = [Order(id="7", price=1), Order(id="8"), Order(id="7", items=["last"], price=2)]
        assert await orders.update_orders(sent) == value(f"{UPDATED}7, 8, ")
        assert await orders.get_order(value("7")) == sent[2]


async def test_no_updates_are_answered_too(sqlite_url: str) -> None:
    async with shop(sqlite_url) as orders:
        assert await orders.update_orders([]) == value(UPDATED)


class Watched(OrderManagement):
    """Says when updateOrders has used an order, and when its handler has ended."""

    def __init__(self, store: OrderStore) -> None:
        super().__init__(store)
        self.received = 0
        self.news = asyncio.Event()
        self.ended = asyncio.Event()

    async def update_orders(
        self, requests: AsyncIterator[Order], ctx: gyr.ServerContext
    ) -> StringValue:
        try:
            return await super().update_orders(self._watch(requests), ctx)
        finally:
            self.ended.set()

    async def _watch(self, requests: AsyncIterator[Order]) -> AsyncIterator[Order]:
        async for order in requests:
            yield order
            self.received += 1
            self.news.set()


@pytest.mark.parametrize("how", ["cancelled", "deadline", "channel closed"])
async def test_updates_that_do_not_end_change_nothing(database_url: str, how: str) -> None:
    async with open_store(database_url) as store:
        service = Watched(store)
        clock = Clock()
        async with serve(service, clock=clock) as channel:
            call = OrderManagementStub(channel).update_orders(timeout=60.0)
            await call.send(Order(id="102", items=["changed"]))
            await call.send(Order(id="new"))
            await service.news.wait()
            if how == "cancelled":
                call.cancel()
            elif how == "channel closed":
                await channel.close(grace=0)
            else:
                clock.advance(60.0)
            code = (
                gyr.StatusCode.DEADLINE_EXCEEDED if how == "deadline" else gyr.StatusCode.CANCELLED
            )
            assert (await call.status()).code == code
            await service.ended.wait()
        assert await store.find("102") == SAMPLE_ORDERS[0]
        assert await store.find("new") is None


async def test_updates_beyond_a_limit_are_refused_whole(sqlite_url: str) -> None:
    async with shop(sqlite_url, max_orders=2, max_update_bytes=1000) as orders:
        with pytest.raises(gyr.ResourceExhausted, match="at most 2 orders"):
            await orders.update_orders([Order(id="102"), Order(id="103"), Order(id="104")])
        with pytest.raises(gyr.ResourceExhausted, match="at most 1000 bytes"):
            await orders.update_orders([Order(id="102", description="x" * 1000)])
        assert await orders.get_order(value("102")) == SAMPLE_ORDERS[0]


async def test_concurrent_updates_of_one_order_leave_one_of_them(database_url: str) -> None:
    versions = [Order(id="102", items=[f"{n}"] * 3, price=n) for n in range(20)]
    async with shop(database_url) as orders:
        calls = [orders.update_orders([order]) for order in versions]
        answers: list[StringValue] = await asyncio.gather(*calls)
        assert answers == [value(f"{UPDATED}102, ")] * 20
        assert await orders.get_order(value("102")) in versions


# ---------------------------------------------------------------- processOrders


async def test_a_full_batch_goes_out_before_the_caller_is_done(database_url: str) -> None:
    async with shop(database_url) as orders:
        await orders.add_order(NEW_ORDER)
        async with orders.process_orders() as call:
            for order_id in values("102", "103", "104"):
                await call.send(order_id)
            first = [await call.receive(), await call.receive()]
            assert ids(shipment for shipment in first if shipment) == [["102", "104"], ["103"]]
            await call.send(value("101"))
            await call.done_sending()
            assert ids([shipment async for shipment in call]) == [["101"]]


async def test_shipments_have_whole_orders_and_ids_of_their_own(sqlite_url: str) -> None:
    async with shop(sqlite_url) as orders:
        sent = values("102", "103", "104")
        first, second = [shipment async for shipment in orders.process_orders(sent)]
        again = [shipment async for shipment in orders.process_orders(sent)]
        assert list(first.ordersList) == [SAMPLE_ORDERS[0], SAMPLE_ORDERS[2]]
        assert list(second.ordersList) == [SAMPLE_ORDERS[1]]
        assert {shipment.status for shipment in (first, second, *again)} == {"Processed!"}
        assert len({shipment.id for shipment in (first, second, *again)}) == 4


@pytest.mark.parametrize(
    ("batch_size", "shipments"),
    [
        (1, [["102"], ["103"], ["104"], ["105"], ["106"]]),
        (2, [["102"], ["103"], ["104"], ["105"], ["106"]]),
        (3, [["102", "104"], ["103"], ["105"], ["106"]]),
        (5, [["102", "104", "106"], ["103", "105"]]),
        (9, [["102", "104", "106"], ["103", "105"]]),
    ],
)
async def test_batches_have_the_size_that_was_asked_for(
    sqlite_url: str, batch_size: int, shipments: list[list[str]]
) -> None:
    async with shop(sqlite_url, batch_size=batch_size) as orders:
        sent = values("102", "103", "104", "105", "106")
        assert ids([one async for one in orders.process_orders(sent)]) == shipments


async def test_unknown_ids_are_reported_and_take_no_place_in_a_batch(sqlite_url: str) -> None:
    async with shop(sqlite_url) as orders:
        sent = values("x,1", "102", "nö", "103", "x,1", "104", "last")
        call = orders.process_orders(sent)
        assert ids([one async for one in call]) == [["102", "104"], ["103"]]
        trailers = await call.trailing_metadata()
        assert trailers["unknown-order-ids"] == "x%2C1,n%C3%B6,last"
        assert "unknown-order-ids-omitted" not in trailers


async def test_too_many_unknown_ids_are_counted(sqlite_url: str) -> None:
    async with shop(sqlite_url) as orders:
        sent = [f"{n:0100}" for n in range(50)]
        call = orders.process_orders(values(*sent, "102"))
        assert ids([one async for one in call]) == [["102"]]
        trailers = await call.trailing_metadata()
        named = str(trailers["unknown-order-ids"]).split(",")
        assert named == sent[: len(named)]
        assert trailers["unknown-order-ids-omitted"] == str(50 - len(named))


async def test_without_unknown_ids_nothing_is_reported(sqlite_url: str) -> None:
    async with shop(sqlite_url) as orders:
        call = orders.process_orders(values("102"))
        assert ids([one async for one in call]) == [["102"]]
        assert "unknown-order-ids" not in await call.trailing_metadata()


async def test_an_id_twice_in_a_stream_ships_once_and_in_the_next_stream_again(
    sqlite_url: str,
) -> None:
    async with shop(sqlite_url) as orders:
        sent = values("102", "102", "103", "102", "104", "103")
        for _ in range(2):
            shipped = ids([one async for one in orders.process_orders(sent)])
            assert shipped == [["102", "104"], ["103"]]


async def test_nothing_sent_ships_nothing(sqlite_url: str) -> None:
    async with shop(sqlite_url) as orders:
        assert [one async for one in orders.process_orders([])] == []


async def test_streams_do_not_share_a_batch(sqlite_url: str) -> None:
    async with (
        shop(sqlite_url) as orders,
        orders.process_orders() as one,
        orders.process_orders() as other,
    ):
        for first, second in (("102", "104"), ("103", "105")):
            await one.send(value(first))
            await other.send(value(second))
        await one.done_sending()
        await other.done_sending()
        assert ids([shipment async for shipment in one]) == [["102"], ["103"]]
        assert ids([shipment async for shipment in other]) == [["104"], ["105"]]


async def test_more_orders_than_one_call_may_ship_are_refused(sqlite_url: str) -> None:
    async with shop(sqlite_url, max_orders=2, batch_size=1) as orders:
        call = orders.process_orders(values("102", "102", "103", "104"))
        shipped: list[CombinedShipment] = []
        with pytest.raises(gyr.ResourceExhausted, match="at most 2 orders"):
            await collect(call, shipped)
        assert ids(shipped) == [["102"], ["103"]]


async def collect(call: AsyncIterator[CombinedShipment], shipped: list[CombinedShipment]) -> None:
    async for shipment in call:
        shipped.append(shipment)


# ---------------------------------------------------------------- a database that is away


class Away(OrderStore):
    """A store whose database does not answer."""

    def __init__(self) -> None:
        pass

    async def add(self, order: Order) -> bool:
        raise StoreUnavailable("host secret.example refused")

    async def find(self, order_id: str) -> Order | None:
        raise StoreUnavailable("host secret.example refused")

    async def matching(self, text: str) -> AsyncGenerator[Order, None]:
        raise StoreUnavailable("host secret.example refused")
        yield

    async def replace(self, changed: Iterable[Order]) -> None:
        raise StoreUnavailable("host secret.example refused")


async def test_a_database_that_is_away_is_unavailable_and_not_described(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(OrderManagement(Away())) as channel:
        orders = OrderManagementStub(channel)
        calls: list[Awaitable[object]] = [
            orders.add_order(NEW_ORDER),
            orders.get_order(value("102")),
            orders.search_orders(value("x")).receive(),
            orders.update_orders([NEW_ORDER]),
            orders.process_orders(values("102")).receive(),
        ]
        for call in calls:
            with pytest.raises(gyr.Unavailable) as caught:
                await call
            assert caught.value.message == "the database of orders does not answer"
    assert caplog.text.count("secret.example") == len(calls)


def test_a_batch_of_no_orders_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        OrderManagement(Away(), batch_size=0)
