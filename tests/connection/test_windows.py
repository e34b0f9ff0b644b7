"""Row "windows": stream 1 MiB, connection 16 MiB; the stream's returns when the application has
consumed, the connection's on receipt, until it holds 64 MiB unread; what is dropped and padding are
credited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame

import gyrfalcon as gyr
from tests.call.service import message
from tests.connection.peer import REQUEST, client, server, settle

pytestmark = pytest.mark.anyio

MIB = 2**20
FRAME = 16_000


def credited(peer: Any, stream_id: int) -> int:
    return sum(
        frame.window_increment
        for frame in peer.seen(WindowUpdateFrame)
        if frame.stream_id == stream_id
    )


class Slow:
    """A handler that takes a request when it is told to."""

    def __init__(self) -> None:
        self.take = asyncio.Semaphore(0)

    async def __call__(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        await self.take.acquire()
        async for _ in requests:
            await self.take.acquire()
        return BytesValue()


def begin_stream(peer: Any, stream_id: int) -> None:
    head = [(k, "/tests.Calls/ClientStream" if k == ":path" else v) for k, v in REQUEST]
    peer.send(HeadersFrame(stream_id, peer.encoder.encode(head), flags=["END_HEADERS"]))


def send_messages(peer: Any, stream_id: int, count: int, padding: int = 0) -> int:
    """Messages that fill a frame each; the bytes they take of the windows."""
    body = bytes(1) + (FRAME - 5).to_bytes(4, "big") + BytesValue(value=b"").SerializeToString()
    body += bytes(FRAME - len(body))
    taken = 0
    for _ in range(count):
        flags = ["PADDED"] if padding else []
        peer.send(DataFrame(stream_id, body, pad_length=padding, flags=flags))
        taken += FRAME + (padding + 1 if padding else 0)
    return taken


async def test_the_server_announces_its_windows() -> None:
    async with server() as serving:
        peer = await serving.connect(shake=False)
        settings = await peer.next(SettingsFrame)
        assert settings.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == MIB
        await settle()
        assert credited(peer, 0) == 16 * MIB - 65_535


async def test_the_client_announces_its_windows() -> None:
    async with client() as calling:
        call = calling.stub.unary(message())
        peer = await calling.peers.get()
        settings = await peer.next(SettingsFrame)
        assert settings.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == MIB
        update = await peer.next(WindowUpdateFrame)
        assert update.window_increment == 16 * MIB - 65_535
        call.cancel()


async def test_a_stalled_stream_keeps_its_window_and_gives_the_connections_back() -> None:
    handler = Slow()
    async with server(client_stream=handler) as serving:
        peer = await serving.connect()
        peer.frames.clear()
        begin_stream(peer, 1)
        sent = sum(send_messages(peer, 1, 10) for _ in range(6))
        await settle(200)
        assert credited(peer, 1) == 0
        # What is below the library's threshold of half a window comes with later data.
        assert credited(peer, 0) in (0, sent)
        # Other streams go on, as long as they like.
        for stream_id in range(3, 41, 2):
            begin_stream(peer, stream_id)
            sent += send_messages(peer, stream_id, 60)
            await settle(50)
        assert credited(peer, 0) > 8 * MIB
        # When its messages are taken, its window returns.
        for _ in range(60):
            handler.take.release()
        await settle(200)
        assert sum(credited(peer, one) for one in range(1, 41, 2)) > 0


async def test_the_connections_window_stays_shut_over_max_unread_bytes() -> None:
    handler = Slow()
    options = {"max_unread_bytes": 200_000, "connection_window": 100_000, "stream_window": 10**6}
    async with server(options, client_stream=handler) as serving:
        peer = await serving.connect()
        peer.frames.clear()
        begin_stream(peer, 1)
        # No more than the window lets, wherever between two frames it was given back.
        for _ in range(16):
            send_messages(peer, 1, 1)
            await settle()
        shut = credited(peer, 0)
        assert 16 * FRAME - 100_000 < shut < 16 * FRAME
        assert serving.limits() == {"max_unread_bytes": 1}
        for _ in range(17):
            handler.take.release()
        await settle(100)
        assert credited(peer, 0) > shut


async def test_padding_and_dropped_data_are_credited() -> None:
    async with server() as serving:
        peer = await serving.connect()
        peer.frames.clear()
        sent = 0
        # There is no such handler: all of it is dropped.
        begin_stream(peer, 1)
        for _ in range(600):
            sent += send_messages(peer, 1, 1, padding=200)
            await settle(2)
        await settle()
        assert credited(peer, 0) > 8 * MIB
        assert credited(peer, 1) == 0 or credited(peer, 1) <= sent


async def test_a_client_gives_the_streams_window_back_when_replies_are_taken() -> None:
    async with client() as calling:
        call = calling.stub.server_stream(message())
        peer = await calling.accept()
        await peer.next(DataFrame)
        peer.frames.clear()
        head = peer.encoder.encode(((":status", "200"), ("content-type", "application/grpc")))
        peer.send(HeadersFrame(1, head, flags=["END_HEADERS"]))
        reply = BytesValue(value=bytes(FRAME - 10)).SerializeToString()
        for _ in range(60):
            peer.send(DataFrame(1, bytes(1) + len(reply).to_bytes(4, "big") + reply))
        await settle(200)
        assert credited(peer, 1) == 0
        for _ in range(60):
            await anext(aiter(call))
        await settle()
        # What is below the library's threshold of half a window comes with later ones.
        assert credited(peer, 1) >= 512 * 1024
        call.cancel()
