"""Row "streams": the server advertises MAX_CONCURRENT_STREAMS 1,000 (settable); a client over the
peer's limit queues, and opens another connection when told to; a stream whose handler still runs
counts, also after a reset. And the limits on connections and calls that a server has in all."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

import gyrfalcon as gyr
from tests.call.service import Stub, message
from tests.certificates import Certificates
from tests.connection.peer import (
    ADDRESS,
    CANCEL,
    PREFACE,
    REFUSED_STREAM,
    Hanging,
    client,
    echo,
    server,
    settle,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("options", "limit"), [({}, 1000), ({"max_concurrent_streams": 7}, 7)])
async def test_the_server_advertises_its_limit(options: dict[str, int], limit: int) -> None:
    async with server(options) as serving:
        peer = await serving.connect(shake=False)
        settings = await peer.next(SettingsFrame)
        assert settings.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == limit


async def test_a_stream_over_the_limit_is_refused() -> None:
    handler = Hanging()
    async with server({"max_concurrent_streams": 2}, unary=handler) as serving:
        peer = await serving.connect()
        for stream_id in (1, 3, 5):
            peer.request(stream_id)
        reset = await peer.next(RstStreamFrame)
        assert (reset.stream_id, reset.error_code) == (5, REFUSED_STREAM)
        assert serving.limits() == {"max_concurrent_streams": 1}
        assert handler.running == 2


async def test_a_handler_that_outlives_its_stream_counts() -> None:
    running, go_on = 0, asyncio.Event()

    async def stubborn(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        nonlocal running
        running += 1
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        running -= 1
        return request

    async with server({"max_concurrent_streams": 1}, unary=stubborn) as serving:
        peer = await serving.connect()
        peer.request(1)
        await settle()
        peer.send(RstStreamFrame(1, error_code=CANCEL))
        await settle()
        peer.request(3)
        reset = await peer.next(RstStreamFrame)
        assert (reset.stream_id, reset.error_code, running) == (3, REFUSED_STREAM, 1)
        go_on.set()
        await settle()
        peer.request(5)
        assert (await peer.next(HeadersFrame)).stream_id == 5


async def test_a_client_over_the_limit_queues() -> None:
    async with client() as calling:
        calls = [calling.stub.unary(message()) for _ in range(3)]
        peer = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        for stream_id, call in zip((1, 3, 5), calls, strict=True):
            head = await peer.next(HeadersFrame)
            await settle()
            assert (head.stream_id, peer.seen(HeadersFrame)) == (stream_id, [])
            peer.respond(stream_id)
            await call
        assert calling.peers.empty()


async def test_a_client_opens_another_connection_when_told_to() -> None:
    async with client(max_connections_per_address=2) as calling:
        first = calling.stub.unary(message())
        one = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await one.next(DataFrame)
        second = calling.stub.unary(message())
        other = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await other.next(DataFrame)
        # Both are full, and there may be no third: it queues.
        third = calling.stub.unary(message())
        await settle()
        assert calling.peers.empty()
        one.respond(1)
        other.respond(1)
        await asyncio.gather(first, second)
        for peer in (one, other):
            await settle()
            if peer.seen(HeadersFrame):
                peer.respond(3)
        await third


async def test_calls_queue_where_no_other_connection_can_be_had() -> None:
    async with client(max_connections_per_address=2) as calling:
        first = calling.stub.unary(message())
        peer = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await peer.next(DataFrame)
        second = calling.stub.unary(message())
        silent = await calling.peers.get()
        await calling.advance(0.25)
        peer.respond(1)
        await first
        await peer.next(DataFrame)
        peer.respond(3)
        await second
        assert silent.frames == [] or isinstance(silent.frames[0], SettingsFrame)


async def test_when_one_of_two_connections_is_lost_the_other_takes_its_place() -> None:
    async with client(max_connections_per_address=2) as calling:
        first = calling.stub.unary(message())
        one = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await one.next(DataFrame)
        second = calling.stub.unary(message())
        other = await calling.accept(MAX_CONCURRENT_STREAMS=1)
        await other.next(DataFrame)
        one.transport.abort()
        with pytest.raises(gyr.Unavailable):
            await first
        assert calling.channel.state.name == "READY"
        other.respond(1)
        await second
        third = calling.stub.unary(message())
        await other.next(DataFrame)
        other.respond(3)
        await third


@pytest.mark.parametrize("most", [0, -1, 1.5])
def test_a_channel_has_a_connection_at_least(most: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="max_connections_per_address"):
        gyr.Channel("x:1", max_connections_per_address=most)


# ---------------------------------------------------------------------- of a server, in all


async def test_calls_over_the_servers_limit_end_with_resource_exhausted() -> None:
    handler = Hanging()
    async with server({"max_concurrent_calls": 2}, unary=handler) as serving:
        one, other = await serving.connect(), await serving.connect()
        one.request(1)
        other.request(1)
        await settle()
        assert handler.running == 2
        one.request(3)
        head = await one.next_head()
        assert ("grpc-status", "8") in head
        assert serving.limits() == {"max_concurrent_calls": 1}
        handler.go_on.set()
        await settle()
        other.request(3)
        await other.next(DataFrame)


async def test_connections_over_the_limit_are_closed_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with server({"max_connections": 3}, unary=echo) as serving:
        peers = [await serving.connect() for _ in range(3)]
        with caplog.at_level(logging.WARNING, logger="gyrfalcon.server"):
            for _ in range(20):
                refused = await serving.connect(shake=False)
                await refused.closed.wait()
        assert serving.limits() == {"max_connections": 20}
        # Once a second at most.
        assert [record.message for record in caplog.records] == [
            "connections refused: 1; the server is at its limit of 3 (max_connections)"
        ]
        peers[0].transport.abort()
        await settle()
        peer = await serving.connect()
        peer.request(1)
        await peer.next(HeadersFrame)


async def test_a_full_server_drops_who_said_nothing_for_a_second() -> None:
    async with server({"max_connections": 2}, unary=echo) as serving:
        silent = await serving.connect(shake=False)
        good = await serving.connect()
        await serving.advance(1)
        another = await serving.connect()
        await silent.closed.wait()
        for peer in (good, another):
            peer.request(1)
            await peer.next(HeadersFrame)
        assert serving.limits() == {"max_connections": 1}


async def test_a_full_server_drops_who_does_not_finish_its_tls_handshake(
    certificates: Certificates,
) -> None:
    options = {"max_connections": 2, "tls": certificates.server_tls()}
    async with server(options, unary=echo) as serving:
        slow = [await serving.connect(shake=False) for _ in range(2)]
        early = await serving.connect(shake=False)
        await early.closed.wait()
        await serving.advance(1)
        async with gyr.Channel(
            ADDRESS, tls=certificates.client_tls(), network=serving.network
        ) as channel:
            await Stub(channel).unary(message())
        assert [peer.closed.is_set() for peer in slow] == [True, False]
        assert serving.limits() == {"max_connections": 2}


async def test_a_server_that_is_closed_over_a_limit_says_nothing_to_strangers() -> None:
    async with server({"max_connections": 1}) as serving:
        await serving.connect()
        stranger = await serving.connect(shake=False)
        stranger.send_bytes(PREFACE)
        await stranger.closed.wait()
        assert stranger.seen(GoAwayFrame) == []
