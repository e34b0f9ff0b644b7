"""Row "handshake": preface and SETTINGS within 20 s; a header block within 10 s; a stream that
makes no progress for 60 s with a closed window is cancelled (each settable)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

import gyrfalcon as gyr
from tests.call.service import message
from tests.connection.peer import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    PREFACE,
    REQUEST,
    RESPONSE,
    client,
    echo,
    server,
    settle,
)

pytestmark = pytest.mark.anyio

SETTINGS = SettingsFrame().serialize()


def header_frames(block: bytes, end_stream: bool) -> tuple[Frame, Frame]:
    """A header block in two frames."""
    flags = ["END_STREAM"] if end_stream else []
    return (
        HeadersFrame(1, block[:3], flags=flags),
        ContinuationFrame(1, block[3:], flags=["END_HEADERS"]),
    )


# ---------------------------------------------------------------------- preface and SETTINGS


@pytest.mark.parametrize(
    "begun", [b"", PREFACE[:10], PREFACE, PREFACE + SETTINGS[:5]], ids=["", "part", "all", "frame"]
)
async def test_a_client_has_twenty_seconds_to_speak_http2(begun: bytes) -> None:
    async with server() as serving:
        peer = await serving.connect(shake=False)
        peer.send_bytes(begun)
        await serving.advance(19.9)
        assert not peer.closed.is_set()
        await serving.advance(0.1)
        await peer.closed.wait()
        assert serving.limits() == {"handshake_timeout": 1}


async def test_a_handshake_that_ends_in_time_is_in_time() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect(shake=False)
        await serving.advance(19.9)
        peer.send_bytes(PREFACE + SETTINGS)
        await serving.advance(100)
        peer.request(1)
        await peer.next(HeadersFrame)


async def test_the_time_for_the_handshake_can_be_set() -> None:
    async with server({"handshake_timeout": 3}) as serving:
        peer = await serving.connect(shake=False)
        await serving.advance(3)
        await peer.closed.wait()


async def test_a_channel_gives_a_silent_server_its_connect_timeout() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        await calling.peers.get()
        await calling.advance(19.9)
        assert not call.done()
        await calling.advance(0.1)
        with pytest.raises(gyr.Unavailable, match="took longer than 20 seconds"):
            await call
        assert calling.limits() == {"connect_timeout": 1}


# ---------------------------------------------------------------------- header blocks


async def test_a_client_has_ten_seconds_for_a_header_block() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        begun, _ = header_frames(peer.encoder.encode(REQUEST), end_stream=False)
        peer.send(begun)
        await serving.advance(9.9)
        assert peer.seen(GoAwayFrame) == []
        await serving.advance(0.1)
        goaway = await peer.next(GoAwayFrame)
        assert (goaway.error_code, goaway.additional_data) == (ENHANCE_YOUR_CALM, b"header_timeout")
        await peer.closed.wait()
        assert serving.limits() == {"header_timeout": 1}


async def test_bytes_of_the_block_do_not_buy_time() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        block = peer.encoder.encode(REQUEST)
        peer.send(HeadersFrame(1, block[:1]))
        for index in range(1, 10):
            await serving.advance(1)
            peer.send(ContinuationFrame(1, block[index : index + 1]))
        await serving.advance(1)
        assert (await peer.next(GoAwayFrame)).error_code == ENHANCE_YOUR_CALM


async def test_the_next_block_has_its_own_ten_seconds() -> None:
    async with server(unary=echo) as serving:
        peer = await serving.connect()
        for stream_id in (1, 3, 5):
            block = peer.encoder.encode(REQUEST)
            peer.send(HeadersFrame(stream_id, block[:2]))
            await serving.advance(9)
            peer.send(ContinuationFrame(stream_id, block[2:], flags=["END_HEADERS"]))
            peer.send(DataFrame(stream_id, bytes(5), flags=["END_STREAM"]))
            await peer.next(DataFrame)
        await serving.advance(100)
        assert not peer.closed.is_set()


async def test_a_server_has_ten_seconds_for_a_header_block() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.accept()
        begun, _ = header_frames(peer.encoder.encode(RESPONSE), end_stream=False)
        peer.send(begun)
        await calling.advance(10)
        assert (await peer.next(GoAwayFrame)).additional_data == b"header_timeout"
        with pytest.raises(gyr.Unavailable, match="header block took longer than 10 seconds"):
            await call
        assert calling.limits() == {"header_timeout": 1}


async def test_the_time_for_a_header_block_can_be_set_and_switched_off() -> None:
    async with server({"header_timeout": 2}) as serving:
        peer = await serving.connect()
        peer.send(HeadersFrame(1, peer.encoder.encode(REQUEST)[:3]))
        await serving.advance(2)
        await peer.next(GoAwayFrame)
    async with server({"header_timeout": None}) as serving:
        peer = await serving.connect()
        peer.send(HeadersFrame(1, peer.encoder.encode(REQUEST)[:3]))
        await serving.advance(1000)
        assert not peer.closed.is_set()


# ---------------------------------------------------------------------- closed windows


class Much:
    """A handler that streams without end."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def __call__(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        try:
            while True:
                yield BytesValue(value=bytes(1000))
        finally:
            self.cancelled.set()


def stream_request(peer: Any, stream_id: int) -> None:
    head = [(k, "/tests.Calls/ServerStream" if k == ":path" else v) for k, v in REQUEST]
    peer.send(HeadersFrame(stream_id, peer.encoder.encode(head), flags=["END_HEADERS"]))
    peer.send(DataFrame(stream_id, bytes(5), flags=["END_STREAM"]))


@pytest.mark.parametrize("window", [0, 1, 65535])
async def test_a_reply_that_is_not_taken_for_sixty_seconds_is_cancelled(window: int) -> None:
    handler = Much()
    async with server(server_stream=handler) as serving:
        peer = await serving.connect()
        peer.settle_settings(INITIAL_WINDOW_SIZE=window)
        await peer.round_trip()
        stream_request(peer, 1)
        await serving.advance(59.9)
        assert peer.seen(RstStreamFrame) == []
        await serving.advance(0.1)
        reset = await peer.next(RstStreamFrame)
        assert (reset.stream_id, reset.error_code) == (1, CANCEL)
        await handler.cancelled.wait()
        assert serving.limits() == {"stall_timeout": 1}
        # The connection lives, and has its window back for others.
        peer.settle_settings(INITIAL_WINDOW_SIZE=65535)
        peer.send(WindowUpdateFrame(0, window_increment=65535))
        peer.request(3)
        await peer.next(HeadersFrame)


async def test_a_reply_that_is_taken_slowly_goes_on() -> None:
    handler = Much()
    async with server(server_stream=handler) as serving:
        peer = await serving.connect()
        stream_request(peer, 1)
        for _ in range(10):
            await serving.advance(59)
            peer.send(WindowUpdateFrame(1, window_increment=1))
            peer.send(WindowUpdateFrame(0, window_increment=1))
        await settle()
        assert peer.seen(RstStreamFrame) == []
        assert not handler.cancelled.is_set()


async def test_a_peer_that_reads_nothing_stalls_its_streams_too() -> None:
    handler = Much()
    async with server(server_stream=handler) as serving:
        peer = await serving.connect()
        peer.settle_settings(INITIAL_WINDOW_SIZE=2**30)
        peer.send(WindowUpdateFrame(0, window_increment=2**30))
        await peer.round_trip()
        peer.transport.pause_reading()
        stream_request(peer, 1)
        await serving.advance(60)
        await handler.cancelled.wait()
        assert serving.limits() == {"stall_timeout": 1}


async def test_a_call_that_does_nothing_is_not_stalled() -> None:
    hanging = asyncio.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await hanging.wait()
        return request

    async with server(unary=wait) as serving:
        peer = await serving.connect()
        peer.request(1)
        for _ in range(10):
            await serving.advance(60)
        assert peer.seen(RstStreamFrame) == []
        hanging.set()
        await peer.next(HeadersFrame)


async def test_a_request_that_is_not_taken_for_sixty_seconds_is_cancelled() -> None:
    async with client() as calling:
        call = calling.stub.unary(message(bytes(100_000)))
        peer = await calling.accept(INITIAL_WINDOW_SIZE=10)
        await peer.next(DataFrame)
        await calling.advance(59.9)
        assert not call.done()
        await calling.advance(0.1)
        with pytest.raises(gyr.Cancelled, match="took no data for too long"):
            await call
        assert (await peer.next(RstStreamFrame)).error_code == CANCEL
        assert calling.limits() == {"stall_timeout": 1}


async def test_a_request_that_waits_for_its_turn_is_not_stalled() -> None:
    async with client() as calling:
        first = calling.stub.unary(message())
        peer = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await peer.next(DataFrame)
        second = calling.stub.unary(message(bytes(100_000)))
        for _ in range(10):
            await calling.advance(60)
        assert not second.done()
        peer.respond(1)
        await first
        await peer.next(DataFrame)
        peer.respond(3)
        await second


async def test_the_patience_can_be_set_and_switched_off() -> None:
    handler = Much()
    for patience, stalled in ((5, True), (None, False)):
        async with server({"stall_timeout": patience}, server_stream=handler) as serving:
            peer = await serving.connect()
            stream_request(peer, 1)
            await serving.advance(5)
            await serving.advance(5)
            assert bool(peer.seen(RstStreamFrame)) == stalled
