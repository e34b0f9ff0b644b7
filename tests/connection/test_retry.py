"""Row "retry", as far as connections go: what was never sent is retried freely; REFUSED_STREAM or
above GOAWAY: once."""

from __future__ import annotations

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

import gyrfalcon as gyr
from tests.call.service import message
from tests.connection.peer import (
    CANCEL,
    REFUSED_STREAM,
    RESPONSE,
    Hanging,
    client,
    server,
    settle,
)

pytestmark = pytest.mark.anyio


async def test_a_refused_stream_is_tried_once_more() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        await peer.next(DataFrame)
        peer.send(RstStreamFrame(1, error_code=REFUSED_STREAM))
        assert ("grpc-previous-rpc-attempts", "1") in await peer.next_head()
        peer.respond(3)
        await call


async def test_not_twice() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        for stream_id in (1, 3):
            await peer.next(DataFrame)
            peer.send(RstStreamFrame(stream_id, error_code=REFUSED_STREAM))
        with pytest.raises(gyr.Unavailable):
            await call


async def test_not_after_the_head_of_a_response() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        await peer.next(DataFrame)
        peer.send(HeadersFrame(1, peer.encoder.encode(RESPONSE), flags=["END_HEADERS"]))
        peer.send(RstStreamFrame(1, error_code=REFUSED_STREAM))
        with pytest.raises(gyr.Unavailable):
            await call


async def test_not_when_the_server_may_have_worked_on_it() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        await peer.next(DataFrame)
        peer.send(RstStreamFrame(1, error_code=CANCEL))
        with pytest.raises(gyr.Cancelled):
            await call


async def test_what_was_never_sent_is_retried_as_often_as_it_takes() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        first = await calling.accept(MAX_CONCURRENT_STREAMS=0)
        for _ in range(4):
            await settle()
            assert first.seen(HeadersFrame) == []
            first.go_away(0)
            first = await calling.accept(MAX_CONCURRENT_STREAMS=0)
        first.settle_settings(MAX_CONCURRENT_STREAMS=1)
        await first.next(DataFrame)
        first.respond(1)
        await call


async def test_the_server_refuses_only_what_no_handler_saw() -> None:
    handler = Hanging()
    async with server({"max_concurrent_streams": 1}, unary=handler) as serving:
        peer = await serving.connect()
        peer.request(1)
        peer.request(3)
        assert (await peer.next(RstStreamFrame)).error_code == REFUSED_STREAM
        assert handler.running == 1
