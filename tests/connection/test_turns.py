"""Connections share their loop: one with much to do in what was read lets the others have their
turn, and nothing of what it has sent is lost by that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hyperframe.frame import HeadersFrame

import gyrfalcon as gyr
from tests.call.turns import Turns
from tests.connection.peer import EMPTY_MESSAGE, REQUEST, Peer, Serving, server, settle
from tests.core.wires import END_STREAM, FrameType, frame, head

pytestmark = pytest.mark.anyio

# What one turn may take is half a millisecond of work; each of what is counted here takes two
# whole ones.
WORK_S = 0.002
CALLS = 400
# A worker looks at the clock every 16 handlers: the first time to see when it is.
MOST_HANDLERS = 32
MOST_LOSSES = 32


class Slow(gyr.Interceptor):
    """Calls of methods that are not served are work: they are told from within the read."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.clock: Any = None

    def refused(self, method: str, code: gyr.StatusCode, registered: bool) -> None:
        self.turns.note()
        self.clock.advance(WORK_S)


def requests(path: str, body: bytes = b"") -> bytes:
    """Calls, all of them together, none compressed by what came before."""
    fields = [
        (name.encode(), (path if name == ":path" else value).encode()) for name, value in REQUEST
    ]
    if not body:
        return b"".join(head(number, fields, end=True) for number in range(1, 2 * CALLS, 2))
    return b"".join(
        head(number, fields) + frame(FrameType.DATA, END_STREAM, number, body)
        for number in range(1, 2 * CALLS, 2)
    )


UNSERVED = requests("/nobody.serves/This")
SERVED = requests("/tests.Calls/Unary", EMPTY_MESSAGE)
# What is in the 8 KiB that the core is given at a time.
MOST_REFUSALS = 8192 * CALLS // len(UNSERVED) + 1


async def ended(peer: Peer, count: int) -> None:
    """Wait until so many calls were answered."""
    for _ in range(count):
        await peer.next(HeadersFrame)


async def test_a_long_read_lets_the_loop_turn() -> None:
    turns = Turns()
    slow = Slow(turns)
    async with server({"interceptors": [slow]}) as serving:
        slow.clock = serving.clock
        peer = await serving.connect()
        peer.send_bytes(UNSERVED)
        await ended(peer, CALLS)
    assert (turns.counts.total(), turns.most <= MOST_REFUSALS) == (CALLS, True)


async def test_what_came_before_the_end_is_read_all_the_same() -> None:
    turns = Turns()
    slow = Slow(turns)
    async with server({"interceptors": [slow]}) as serving:
        slow.clock = serving.clock
        peer = await serving.connect()
        peer.send_bytes(UNSERVED)
        peer.transport.close()
        await peer.closed.wait()
        await settle(100)
    assert turns.counts.total() == CALLS


async def test_a_queue_of_handlers_lets_the_loop_turn() -> None:
    turns = Turns()
    made: list[Serving] = []

    async def work(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        turns.note()
        made[0].clock.advance(WORK_S)
        return request

    async with server(unary=work) as serving:
        made.append(serving)
        peer = await serving.connect()
        # In one read, as from a busy client.
        peer.send_bytes(SERVED)
        for _ in range(2 * CALLS):
            await peer.next(HeadersFrame)
    assert (turns.counts.total(), turns.most <= MOST_HANDLERS) == (CALLS, True)


async def test_handlers_of_a_lost_connection_end_some_in_a_turn() -> None:
    turns = Turns()
    waiting = asyncio.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        try:
            await waiting.wait()
        finally:
            turns.note()
        return request

    async with server(unary=wait) as serving:
        peer = await serving.connect()
        for number in range(1, 2 * CALLS, 2):
            peer.request(number)
        await settle(2 * CALLS)
        peer.transport.abort()
        await settle(4 * CALLS // MOST_LOSSES)
        assert serving.server.stats().connections == ()
    assert (turns.counts.total(), turns.most <= MOST_LOSSES) == (CALLS, True)
