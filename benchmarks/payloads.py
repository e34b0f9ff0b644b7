"""The messages of the benchmark; every peer and every neutral client sends these."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from benchmarks.protos.bench_pb2 import Chunk, Order, Receipt, Wish

if TYPE_CHECKING:
    from google.protobuf.message import Message

ORDER = Order(id="106", item="Amazon Echo", quantity=3, price=29.5, note=b"leave at the door")
RECEIPT = Receipt(order_id="106", total=88.5, text="3 x Amazon Echo")
NUMBER = 1

SMALL_DATA_BYTES = 89
"""Data in a chunk whose encoding is 100 bytes: tag and fixed64 are 9, tag and length are 2."""

LARGE_DATA_BYTES = 2**20
"""Data in a chunk of the large-message scenarios."""


def chunk(size: int) -> Chunk:
    """A chunk with `size` bytes of data."""
    return Chunk(number=NUMBER, data=bytes(size))


def framed(message: Message) -> bytes:
    """The message as it stands in a request body: flag, length, encoding (PROTOCOL-HTTP2)."""
    encoded = message.SerializeToString()
    return struct.pack(">BI", 0, len(encoded)) + encoded


def framed_wish(count: int, size: int) -> bytes:
    """The request body that asks for `count` chunks of `size` bytes of data."""
    return framed(Wish(count=count, size=size))
