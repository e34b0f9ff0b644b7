"""The orders that a new database starts with."""

from __future__ import annotations

from typing import Final

from .proto.order_management_pb2 import Order

SAMPLE_ORDERS: Final = (
    Order(
        id="102",
        items=["Google Pixel 3A", "Mac Book Pro"],
        destination="Mountain View, CA",
        price=1800.0,
    ),
    Order(id="103", items=["Apple Watch S4"], destination="San Jose, CA", price=400.0),
    Order(
        id="104",
        items=["Google Home Mini", "Google Nest Hub"],
        destination="Mountain View, CA",
        price=400.0,
    ),
    Order(id="105", items=["Amazon Echo"], destination="San Jose, CA", price=30.0),
    Order(
        id="106",
        items=["Amazon Echo", "Apple iPhone XS"],
        destination="Mountain View, CA",
        price=300.0,
    ),
)
