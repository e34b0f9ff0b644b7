"""How processOrders makes batches, and how it reports ids that it does not know."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from retail.proto.order_management_pb2 import CombinedShipment, Order
from retail.rules import TooManyOrders
from retail.shipments import MAX_REPORT_BYTES, ShipmentBatcher, UnknownOrders

A, B = "Austin, TX", "Boston, MA"


def order(order_id: str, destination: str) -> Order:
    return Order(id=order_id, destination=destination, items=[f"item of {order_id}"])


def ids(shipments: Iterable[CombinedShipment]) -> list[list[str]]:
    return [[order.id for order in shipment.ordersList] for shipment in shipments]


def batcher(size: int, *, max_orders: int = 1000) -> ShipmentBatcher:
    return ShipmentBatcher(size, max_orders=max_orders)


def test_nothing_goes_out_before_the_batch_is_full() -> None:
    batches = batcher(3)
    assert ids(batches.accept(order("1", A))) == []
    assert ids(batches.accept(order("2", B))) == []
    assert ids(batches.accept(order("3", A))) == [["1", "3"], ["2"]]


def test_groups_come_in_the_order_in_which_destinations_came_first() -> None:
    batches = batcher(4)
    for order_id, destination in (("1", B), ("2", A), ("3", A)):
        list(batches.accept(order(order_id, destination)))
    assert ids(batches.accept(order("4", B))) == [["1", "4"], ["2", "3"]]


def test_a_group_never_spans_batches() -> None:
    batches = batcher(2)
    sent = [ids(batches.accept(order(order_id, A))) for order_id in "12345"]
    assert sent == [[], [["1", "2"]], [], [["3", "4"]], []]
    assert ids(batches.flush()) == [["5"]]


def test_an_empty_rest_sends_nothing() -> None:
    batches = batcher(1)
    assert ids(batches.accept(order("1", A))) == [["1"]]
    assert ids(batches.flush()) == []
    assert ids(batcher(3).flush()) == []


def test_what_was_flushed_is_not_flushed_again() -> None:
    batches = batcher(3)
    list(batches.accept(order("1", A)))
    assert ids(batches.flush()) == [["1"]]
    assert ids(batches.flush()) == []


def test_the_same_id_ships_and_counts_once() -> None:
    batches = batcher(2)
    assert ids(batches.accept(order("1", A))) == []
    assert ids(batches.accept(order("1", A))) == []
    assert ids(batches.accept(order("2", A))) == [["1", "2"]]
    assert ids(batches.accept(order("1", A))) == []
    assert ids(batches.flush()) == []
    assert "1" in batches
    assert "3" not in batches


def test_shipments_have_whole_orders_a_status_and_ids_of_their_own() -> None:
    shipments = [
        shipment
        for _ in range(50)
        for shipment in ShipmentBatcher(1, max_orders=1).accept(order("1", A))
    ]
    assert len({shipment.id for shipment in shipments}) == 50
    assert {shipment.status for shipment in shipments} == {"Processed!"}
    assert list(shipments[0].ordersList) == [order("1", A)]


def test_orders_beyond_the_limit_are_refused() -> None:
    batches = batcher(2, max_orders=2)
    list(batches.accept(order("1", A)))
    list(batches.accept(order("2", A)))
    list(batches.accept(order("2", A)))
    with pytest.raises(TooManyOrders, match="at most 2 orders"):
        batches.accept(order("3", A))


def unknown(*order_ids: str) -> UnknownOrders:
    reported = UnknownOrders()
    for order_id in order_ids:
        reported.add(order_id)
    return reported


def test_unknown_ids_are_reported_once_in_order() -> None:
    assert unknown("9", "7", "9").ids == ["9", "7"]


def test_unknown_ids_are_printable_ascii_without_commas() -> None:
    reported = unknown("a,b", "100%", "Zürich", "two words", "\n", "plain-ID_1.x/y:z", "")
    assert reported.ids == [
        "a%2Cb",
        "100%25",
        "Z%C3%BCrich",
        "two%20words",
        "%0A",
        "plain-ID_1.x/y:z",
        "",
    ]


def test_what_does_not_fit_is_counted() -> None:
    reported = unknown("first", "x" * MAX_REPORT_BYTES, "x" * (MAX_REPORT_BYTES + 1), "last")
    assert reported.ids == ["first", "last"]
    assert reported.omitted == 2


def test_the_report_stays_within_its_bound() -> None:
    reported = unknown(*(f"{number:064}" for number in range(1000)))
    assert len(",".join(reported.ids)) <= MAX_REPORT_BYTES
    assert len(reported.ids) + reported.omitted == 1000
