"""What the servers of a soak answer: every reply follows from its request and can be checked."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from google.protobuf.wrappers_pb2 import BytesValue

from tests.call.service import METHODS, SERVICE

# What is asked for stands in front of the payload.
FAIL, WAIT = b"fail", b"wait"
REPLIES = 4
"""of a server stream"""
PAYLOADS = (0, 1, 100, 1_000, 20_000, 200_000)
PATHS = {method.attribute: method.path for method in METHODS}
NOT_FOUND = 5
# A connection that breaks, a server that stands still or restarts: what else comes is a fault.
EXPECTED_FAILURES = frozenset(("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"))
KEY = "x-soak"

__all__ = ["METHODS", "SERVICE", "answer", "join", "repeat"]


def answer(request: bytes, number: int = 0) -> bytes:
    """The reply to one request: its checksum, its place in the stream, and all of it."""
    return b"%08x %d " % (zlib.crc32(request), number) + request


def repeat(request: bytes) -> Iterator[bytes]:
    """The replies of a server stream."""
    for number in range(REPLIES):
        yield answer(request, number)


def join(requests: Iterable[bytes]) -> bytes:
    """The reply to a client stream."""
    checksum = count = 0
    for request in requests:
        checksum = zlib.crc32(request, checksum)
        count += 1
    return b"%08x of %d" % (checksum, count)


def boxed(data: bytes) -> BytesValue:
    return BytesValue(value=data)
