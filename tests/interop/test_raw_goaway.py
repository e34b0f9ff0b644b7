"""A server that refuses streams or goes away: what a Gyrfalcon client sends again, and what not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

import gyrfalcon as gyr
from tests.call.service import Stub, collect, message
from tests.interop.raw import RawConnection, RawServer, frame, raw_server
from tests.interop.test_raw_responses import HELLO, raw_peer

pytestmark = pytest.mark.anyio

RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]


async def establish(server: RawServer, stub: Stub) -> RawConnection:
    """A connection that has served one call, stream 1."""
    call = stub.unary(message())
    peer = await server.accept()
    await peer.respond((await peer.whole_request()).stream_id, frame(HELLO))
    await call
    return peer


async def test_calls_above_the_last_id_go_to_a_new_connection() -> None:
    async with raw_peer() as (server, stub):
        first = await establish(server, stub)
        calls = [stub.unary(message(b"%d" % number)) for number in range(3)]
        for _ in calls:
            await first.whole_request()
        await first.go_away(1)
        second = await server.accept()
        for _ in calls:
            request = await second.whole_request()
            assert "grpc-previous-rpc-attempts" in request.head
            await second.respond(request.stream_id, request.body)
        replies = [(await call).value for call in calls]
        assert replies == [b"0", b"1", b"2"]


async def test_calls_up_to_the_last_id_go_on_while_new_ones_go_elsewhere() -> None:
    async with raw_peer() as (server, stub):
        first = await establish(server, stub)
        old = stub.unary(message(b"old"))
        old_request = await first.whole_request()
        await first.go_away(old_request.stream_id)
        # The next call is made when the GOAWAY was read: the client answers a PING sent after it.
        await first.round_trip()
        new = stub.unary(message(b"new"))
        second = await server.accept()
        new_request = await second.whole_request()
        await second.respond(new_request.stream_id, new_request.body)
        assert (await new).value == b"new"
        assert not old.done()
        await first.respond(old_request.stream_id, old_request.body)
        assert (await old).value == b"old"
        await first.closed_by_peer()


async def test_a_graceful_end_in_two_steps_is_not_noticed_by_calls() -> None:
    async with raw_peer() as (server, stub):
        first = await establish(server, stub)
        call = stub.unary(message(b"caught between"))
        await first.whole_request()
        await first.go_away(2**31 - 1)
        await first.go_away(1)
        second = await server.accept()
        request = await second.whole_request()
        await second.respond(request.stream_id, request.body)
        assert (await call).value == b"caught between"


async def test_a_call_above_the_last_id_goes_out_again_only_once() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message())
        for _ in range(2):
            peer = await server.accept()
            await peer.whole_request()
            await peer.go_away(0)
        with pytest.raises(gyr.Unavailable):
            await call


async def test_a_refused_call_goes_out_again_once_on_the_same_connection() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message(b"again"))
        peer = await server.accept()
        refused = await peer.whole_request()
        assert "grpc-previous-rpc-attempts" not in refused.head
        await peer.reset(refused.stream_id, ErrorCodes.REFUSED_STREAM)
        again = await peer.whole_request()
        assert again.head["grpc-previous-rpc-attempts"] == "1"
        assert (again.stream_id, again.body) == (3, refused.body)
        await peer.respond(again.stream_id, again.body)
        assert (await call).value == b"again"


async def test_a_call_that_is_refused_twice_fails() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message())
        peer = await server.accept()
        for _ in range(2):
            refused = await peer.whole_request()
            await peer.reset(refused.stream_id, ErrorCodes.REFUSED_STREAM)
        with pytest.raises(gyr.Unavailable):
            await call


async def test_a_call_that_was_answered_in_part_does_not_go_out_again() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message())
        peer = await server.accept()
        request = await peer.whole_request()
        peer.h2.send_headers(request.stream_id, RESPONSE)
        await peer.reset(request.stream_id, ErrorCodes.REFUSED_STREAM)
        with pytest.raises(gyr.Unavailable):
            await call


async def test_a_refused_stream_of_requests_goes_out_again_when_none_was_sent() -> None:
    async with raw_peer() as (server, stub):
        call = stub.client_stream()
        peer = await server.accept()
        refused = await peer.accept_request()
        await peer.reset(refused.stream_id, ErrorCodes.REFUSED_STREAM)
        again = await peer.accept_request()
        await call.send(message(b"hello"))
        await call.done_sending()
        assert (await peer.whole(again.stream_id)).body == frame(HELLO)
        await peer.respond(again.stream_id, frame(HELLO))
        assert (await call).value == b"hello"


async def test_a_refused_stream_of_requests_fails_when_some_were_taken() -> None:
    async def source() -> AsyncIterator[BytesValue]:
        yield message(b"one")

    async with raw_peer() as (server, stub):
        call = stub.client_stream(source())
        peer = await server.accept()
        refused = await peer.whole_request()
        await peer.reset(refused.stream_id, ErrorCodes.REFUSED_STREAM)
        with pytest.raises(gyr.Unavailable):
            await call


async def test_a_refused_server_stream_goes_out_again() -> None:
    async with raw_peer() as (server, stub):
        call = stub.server_stream(message(b"hello"))
        peer = await server.accept()
        refused = await peer.whole_request()
        await peer.reset(refused.stream_id, ErrorCodes.REFUSED_STREAM)
        again = await peer.whole_request()
        assert again.body == refused.body
        await peer.respond(again.stream_id, frame(HELLO))
        assert await collect(call) == [b"hello"]


async def test_what_waits_for_a_place_on_a_full_connection_goes_to_the_next_one() -> None:
    async with raw_server() as server, gyr.Channel(f"127.0.0.1:{server.port}") as channel:
        stub = Stub(channel)
        running = stub.unary(message(b"first"))
        first = await server.accept(start=False)
        first.h2.local_settings = Settings(False, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        await first.start()
        request = await first.whole_request()
        waiting = [stub.unary(message(b"%d" % number)) for number in range(3)]
        await first.go_away(request.stream_id)
        second = await server.accept()
        for _ in waiting:
            moved = await second.whole_request()
            # Nobody has seen them before, so they are not attempts that failed.
            assert "grpc-previous-rpc-attempts" not in moved.head
            await second.respond(moved.stream_id, moved.body)
        assert [(await call).value for call in waiting] == [b"0", b"1", b"2"]
        await first.respond(request.stream_id, request.body)
        assert (await running).value == b"first"


async def test_requests_that_nobody_has_seen_go_along_to_the_next_connection() -> None:
    async with raw_server() as server, gyr.Channel(f"127.0.0.1:{server.port}") as channel:
        stub = Stub(channel)
        running = stub.unary(message(b"first"))
        first = await server.accept(start=False)
        first.h2.local_settings = Settings(False, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        await first.start()
        request = await first.whole_request()
        waiting = stub.bidi()
        await waiting.send(message(b"hello"))
        await first.go_away(request.stream_id)
        second = await server.accept()
        moved = await second.accept_request()
        await waiting.done_sending()
        assert (await second.whole(moved.stream_id)).body == frame(HELLO)
        await second.respond(moved.stream_id, frame(HELLO))
        assert await collect(waiting) == [b"hello"]
        await first.respond(request.stream_id, frame(HELLO))
        await running


async def test_a_lost_connection_fails_what_was_sent_and_the_next_call_connects_again() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message())
        first = await server.accept()
        await first.whole_request()
        await first.close()
        with pytest.raises(gyr.Unavailable):
            await call
        again = stub.unary(message(b"again"))
        second = await server.accept()
        request = await second.whole_request()
        await second.respond(request.stream_id, request.body)
        assert (await again).value == b"again"


async def test_a_goaway_with_an_error_fails_the_calls_that_it_takes_along() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message())
        peer = await server.accept()
        request = await peer.whole_request()
        await peer.go_away(request.stream_id, ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings")
        await peer.close()
        with pytest.raises(gyr.Unavailable):
            await call
