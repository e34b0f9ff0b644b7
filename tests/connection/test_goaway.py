"""Row "client on GOAWAY": calls above the last id are retried transparently on a new connection,
once; calls below go on; nothing of it reaches the application when it can be helped."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame

import gyrfalcon as gyr
from tests.call.service import message
from tests.connection.peer import ENHANCE_YOUR_CALM, LAST_POSSIBLE, client

pytestmark = pytest.mark.anyio


async def test_calls_above_the_last_id_go_to_a_new_connection_and_those_below_go_on() -> None:
    async with client() as calling:
        below, above = calling.stub.unary(message(b"below")), calling.stub.unary(message(b"above"))
        old = await calling.accept()
        await old.next(DataFrame)
        await old.next(DataFrame)
        old.go_away(1)
        new = await calling.accept()
        await new.next(DataFrame)
        new.respond(1)
        await above
        assert not below.done()
        old.respond(1)
        await below
        await old.closed.wait()


async def test_they_are_retried_once() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        for _ in range(2):
            peer = await calling.accept()
            await peer.next(DataFrame)
            peer.go_away(0)
        with pytest.raises(gyr.Unavailable):
            await call


async def test_new_calls_go_to_a_new_connection() -> None:
    async with client() as calling:
        running = calling.stub.unary(message())
        old = await calling.accept()
        await old.next(DataFrame)
        old.go_away(LAST_POSSIBLE)
        await calling.advance(0)
        fresh = calling.stub.unary(message())
        new = await calling.accept()
        new.respond(1)
        await fresh
        old.respond(1)
        await running


async def test_calls_that_waited_for_their_turn_go_along() -> None:
    async with client() as calling:
        calls = [calling.stub.unary(message()) for _ in range(4)]
        old = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await old.next(DataFrame)
        old.go_away(1)
        new = await calling.accept()
        old.respond(1)
        for stream_id in (1, 3, 5):
            await new.next(DataFrame)
            new.respond(stream_id)
        for call in calls:
            await call


@pytest.mark.parametrize("code", [ENHANCE_YOUR_CALM, 2])
async def test_a_goaway_with_an_error_is_no_different_for_calls(code: int) -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        old = await calling.accept()
        await old.next(DataFrame)
        old.go_away(0, code, b"why")
        new = await calling.accept()
        await new.next(DataFrame)
        new.respond(1)
        await call
