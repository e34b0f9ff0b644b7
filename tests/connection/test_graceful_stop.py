"""Row "graceful stop": GOAWAY(2^31-1, NO_ERROR), PING, its ACK or 10 s, GOAWAY(real last id),
finish, close; then a grace period, then CANCELLED; idempotent; from a handler."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame

import gyrfalcon as gyr
from tests.connection.peer import LAST_POSSIBLE, NO_ERROR, Hanging, echo, server, settle

pytestmark = pytest.mark.anyio


async def test_the_server_says_goodbye_in_two_steps() -> None:
    handler = Hanging()
    async with server(unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        peer.answers_pings = False
        stopping = asyncio.create_task(serving.server.stop(60))
        first = await peer.next(GoAwayFrame)
        assert (first.last_stream_id, first.error_code) == (LAST_POSSIBLE, NO_ERROR)
        ping = await peer.next(PingFrame)
        # What was on its way is still taken on.
        peer.request(3)
        await settle()
        assert (handler.running, peer.seen(GoAwayFrame)) == (2, [])
        peer.send(PingFrame(opaque_data=ping.opaque_data, flags=["ACK"]))
        second = await peer.next(GoAwayFrame)
        assert (second.last_stream_id, second.error_code) == (3, NO_ERROR)
        handler.go_on.set()
        await peer.next(DataFrame)
        await peer.closed.wait()
        await stopping


async def test_the_answer_to_the_ping_is_waited_for_ten_seconds() -> None:
    handler = Hanging()
    async with server(unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        peer.answers_pings = False
        stopping = asyncio.create_task(serving.server.stop(60))
        await peer.next(GoAwayFrame)
        await serving.advance(9.9)
        assert peer.seen(GoAwayFrame) == []
        await serving.advance(0.1)
        assert (await peer.next(GoAwayFrame)).last_stream_id == 1
        handler.go_on.set()
        await stopping


async def test_after_the_grace_calls_end_cancelled() -> None:
    handler = Hanging()
    async with server(unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        await handler.started.wait()
        stopping = asyncio.create_task(serving.server.stop(30))
        await serving.advance(29.9)
        assert not handler.cancelled.is_set()
        await serving.advance(0.1)
        await handler.cancelled.wait()
        head = await peer.next_head()
        assert ("grpc-status", "1") in head
        await stopping


async def test_stopping_twice_is_stopping_once() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        await asyncio.gather(serving.server.stop(60), serving.server.stop(60))
        await serving.server.stop()
        assert len(peer.seen(GoAwayFrame)) == 2


async def test_a_handler_may_stop_its_server() -> None:
    stopping: list[asyncio.Task[None]] = []

    async def last(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        stopping.append(asyncio.ensure_future(serving.server.stop(60)))
        await asyncio.sleep(0)
        return request

    async with server(unary=last) as serving:
        peer = await serving.connect()
        peer.request(1)
        await peer.next(DataFrame)
        await peer.closed.wait()
        await stopping[0]


async def test_a_client_that_reads_nothing_does_not_hold_the_server_up() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        peer.transport.pause_reading()
        stopping = asyncio.create_task(serving.server.stop(60))
        for _ in range(80):
            await serving.advance(1)
        await stopping
