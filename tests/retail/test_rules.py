"""What an order may be, and the orders of one updateOrders call."""

from __future__ import annotations

import math

import pytest

from retail.proto.order_management_pb2 import Order
from retail.rules import MAX_ANSWER_BYTES, InvalidOrder, TooManyOrders, Updates, check_order


def updates(*orders: Order, max_orders: int = 100, max_bytes: int = 10_000) -> Updates:
    collected = Updates(max_orders=max_orders, max_bytes=max_bytes)
    for order in orders:
        collected.add(order)
    return collected


def test_an_order_needs_only_an_id() -> None:
    check_order(Order(id="1"))


@pytest.mark.parametrize(
    ("order", "named"),
    [
        (Order(), "id is empty"),
        (Order(id="x" * 257), "257 characters"),
        (Order(id="7", price=math.nan), "price nan of order '7'"),
        (Order(id="7", price=math.inf), "price inf of order '7'"),
    ],
)
def test_what_is_refused_is_named(order: Order, named: str) -> None:
    with pytest.raises(InvalidOrder, match=named):
        check_order(order)


def test_an_id_may_have_256_characters_of_any_alphabet() -> None:
    check_order(Order(id="山" * 256))


def test_the_last_of_equal_ids_wins_and_is_named_once() -> None:
    collected = updates(Order(id="1", price=1), Order(id="2", price=2), Order(id="1", price=3))
    assert list(collected.orders) == [Order(id="1", price=3), Order(id="2", price=2)]
    assert collected.answer == "Orders processed Updated Order IDs : 1, 2, "


def test_the_answer_to_no_orders_names_none() -> None:
    assert updates().answer == "Orders processed Updated Order IDs : "


def test_a_bad_order_among_the_updates_is_refused() -> None:
    with pytest.raises(InvalidOrder, match="id is empty"):
        updates(Order(id="1"), Order())


def test_more_orders_than_the_limit_are_refused_but_not_more_versions_of_one() -> None:
    updates(*[Order(id="1")] * 5, max_orders=1)
    with pytest.raises(TooManyOrders, match="at most 1 orders"):
        updates(Order(id="1"), Order(id="2"), max_orders=1)


def test_bytes_are_those_that_are_held() -> None:
    large = Order(id="1", description="x" * 600)
    updates(large, large, large, max_bytes=700)
    with pytest.raises(TooManyOrders, match="at most 700 bytes"):
        updates(large, Order(id="2", description="x" * 100), max_bytes=700)


def test_ids_that_would_not_fit_in_the_answer_are_refused() -> None:
    fitting = MAX_ANSWER_BYTES // 258
    collected = updates(
        *(Order(id=f"{number:0256}") for number in range(fitting)),
        max_orders=10**6,
        max_bytes=2**30,
    )
    assert len(collected.answer.encode()) < 4 * 2**20
    with pytest.raises(TooManyOrders, match="the ids of one call"):
        collected.add(Order(id="x" * 256))
