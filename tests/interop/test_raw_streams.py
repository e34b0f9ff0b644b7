"""Streams and connections of a Gyrfalcon server, frame by frame, as a stranger sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h2.events
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

import gyrfalcon as gyr
from tests.call.service import Calls, message
from tests.interop.raw import REQUEST_HEAD, RawConnection, frame, raw_client

pytestmark = pytest.mark.anyio

HELLO = message(b"hello").SerializeToString()


def head(method: str) -> list[tuple[str, str]]:
    return list({**REQUEST_HEAD, ":path": f"/tests.Calls/{method}"}.items())


@asynccontextmanager
async def raw_to(
    options: dict[str, Any] | None = None, **handlers: Callable[..., Any]
) -> AsyncIterator[tuple[gyr.Server, RawConnection]]:
    """A server with these handlers, and a raw connection to it."""
    async with gyr.Server([Calls(**handlers)], **options or {}) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            yield server, connection


class Watched:
    """A handler that waits until it is cancelled, and tells of it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            if ctx.cancelled:
                self.cancelled.set()
        return request


async def test_the_settings_are_the_documented_ones() -> None:
    async with raw_to() as (_, connection):
        await connection.next_event(h2.events.RemoteSettingsChanged)
        settings = connection.h2.remote_settings
        assert settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 1000
        assert settings[SettingCodes.INITIAL_WINDOW_SIZE] == 2**20
        assert settings[SettingCodes.MAX_HEADER_LIST_SIZE] == 16 * 2**10
        await connection.next_event(h2.events.WindowUpdated)
        assert connection.h2.outbound_flow_control_window == 16 * 2**20


async def test_a_ping_is_answered() -> None:
    async with raw_to() as (_, connection):
        connection.h2.ping(b"12345678")
        await connection.flush()
        assert (await connection.next_event(h2.events.PingAckReceived)).ping_data == b"12345678"


@pytest.mark.parametrize("code", [gyr.StatusCode.OK, gyr.StatusCode.NOT_FOUND])
async def test_an_early_answer_is_followed_by_a_reset_without_error(code: gyr.StatusCode) -> None:
    async def first(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        request = await anext(requests)
        if code:
            raise gyr.RpcError("enough", code=code)
        return request

    async with raw_to(client_stream=first) as (_, connection):
        stream_id = await connection.open(head("ClientStream"), frame(HELLO), end=False)
        answer = await connection.whole(stream_id)
        assert answer.status == code
        assert answer.body == (b"" if code else frame(HELLO))
        assert await connection.reset_of(stream_id) == ErrorCodes.NO_ERROR


async def test_an_answer_to_a_whole_request_is_not_followed_by_a_reset() -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async with raw_to(unary=echo) as (_, connection):
        answer = await connection.request(frame(HELLO))
        await connection.round_trip()
        assert answer.reset is None


@pytest.mark.parametrize(
    "code", [ErrorCodes.CANCEL, ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR]
)
async def test_a_reset_cancels_the_handler_whatever_its_code(code: int) -> None:
    watched = Watched()
    async with raw_to(unary=watched.unary) as (_, connection):
        stream_id = await connection.open(head("Unary"), frame(HELLO))
        await watched.started.wait()
        await connection.reset(stream_id, code)
        await watched.cancelled.wait()


async def test_a_lost_connection_cancels_its_handlers() -> None:
    watched = Watched()
    async with raw_to(unary=watched.unary) as (_, connection):
        await connection.open(head("Unary"), frame(HELLO))
        await watched.started.wait()
        await connection.close()
        await watched.cancelled.wait()


async def test_what_was_sent_to_an_ended_stream_gives_the_connection_its_window_back() -> None:
    async def refuse(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.InvalidArgument("no")

    # Five times the connection's window goes by, so none of it may be lost.
    async with raw_to({"connection_window": 65535}, client_stream=refuse) as (_, connection):
        body = frame(b"x" * 16000)
        for _ in range(22):
            stream_id = await connection.open(head("ClientStream"), body, end=False)
            assert (await connection.whole(stream_id)).status == gyr.StatusCode.INVALID_ARGUMENT
            await connection.reset_of(stream_id)
            while connection.h2.outbound_flow_control_window < 32768:
                await connection.next_event(h2.events.WindowUpdated)


async def test_a_stream_that_is_not_read_does_not_stop_its_neighbours() -> None:
    read = asyncio.Event()

    async def stall(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        await read.wait()
        return message(b"%d" % sum([len(request.value) async for request in requests]))

    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    options = {"stream_window": 65535, "connection_window": 65535}
    one = message(b"x" * 1000)
    chunk = frame(one.SerializeToString())
    async with raw_to(options, client_stream=stall, unary=echo) as (_, connection):
        stream_id = await connection.open(head("ClientStream"), b"", end=False)
        sent = 0
        while connection.h2.local_flow_control_window(stream_id) >= len(chunk):
            connection.h2.send_data(stream_id, chunk)
            sent += 1
        await connection.flush()
        # The stream's window is used up and stays so; the connection's comes back.
        answer = await connection.request(frame(HELLO))
        assert (answer.status, answer.body) == (0, frame(HELLO))
        await connection.round_trip()
        assert connection.h2.local_flow_control_window(stream_id) < len(chunk)
        read.set()
        while connection.h2.local_flow_control_window(stream_id) < len(chunk):
            await connection.next_event(h2.events.WindowUpdated)
        connection.h2.send_data(stream_id, chunk, end_stream=True)
        await connection.flush()
        answer = await connection.whole(stream_id)
        total = message(b"%d" % ((sent + 1) * 1000)).SerializeToString()
        assert (answer.status, answer.body) == (0, frame(total))


async def test_replies_wait_for_the_window_of_the_stream() -> None:
    produced = 0

    async def endless(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        nonlocal produced
        while True:
            produced += 1
            yield message(b"x" * 1000)

    async with raw_to(server_stream=endless) as (_, connection):
        connection.gives_credit = False
        stream_id = await connection.open(head("ServerStream"), frame(HELLO))
        received = 0
        while received < 65535:
            data = await connection.next_event(h2.events.DataReceived)
            received += data.flow_controlled_length or 0
        await connection.round_trip()
        await connection.round_trip()
        # A window has gone out, and what the handler may be ahead of that waits.
        ahead = produced
        assert received == 65535
        assert 65 < ahead < 200
        await connection.round_trip()
        assert produced == ahead
        connection.h2.increment_flow_control_window(60_000, stream_id)
        connection.h2.increment_flow_control_window(60_000)
        await connection.flush()
        while received < 125_535:
            data = await connection.next_event(h2.events.DataReceived)
            received += data.flow_controlled_length or 0
        await connection.round_trip()
        await connection.round_trip()
        assert ahead < produced < 250
        await connection.reset(stream_id, ErrorCodes.CANCEL)


async def test_streams_over_the_limit_are_refused_and_handlers_count_after_a_reset() -> None:
    release = asyncio.Event()
    started: asyncio.Queue[None] = asyncio.Queue()

    async def stubborn(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.put_nowait(None)
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return request

    async with raw_to({"max_concurrent_streams": 2}, unary=stubborn) as (_, connection):
        for _ in range(2):
            stream_id = await connection.open(head("Unary"), frame(HELLO))
            await started.get()
            await connection.reset(stream_id, ErrorCodes.CANCEL)
        refused = await connection.request(frame(HELLO))
        assert refused.reset == ErrorCodes.REFUSED_STREAM
        release.set()


async def test_a_server_that_stops_goes_away_in_two_steps_and_finishes_what_runs() -> None:
    started = asyncio.Event()
    release = asyncio.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        await release.wait()
        return request

    async with raw_to(unary=wait) as (server, connection):
        running = await connection.open(head("Unary"), frame(HELLO))
        await started.wait()
        stopping = asyncio.create_task(server.stop())
        notice = await connection.next_event(h2.events.ConnectionTerminated)
        assert (notice.error_code, notice.last_stream_id) == (ErrorCodes.NO_ERROR, 2**31 - 1)
        # Sent before the client could know: taken on all the same. The PING was answered by h2.
        late = await connection.open(head("Unary"), frame(HELLO))
        final = await connection.next_event(h2.events.ConnectionTerminated)
        assert final.error_code == ErrorCodes.NO_ERROR
        assert final.last_stream_id in (running, late)
        release.set()
        assert (await connection.whole(running)).status == 0
        await connection.closed_by_peer()
        await stopping


async def test_what_still_runs_after_the_grace_ends_cancelled() -> None:
    watched = Watched()
    async with raw_to(unary=watched.unary) as (server, connection):
        stream_id = await connection.open(head("Unary"), frame(HELLO))
        await watched.started.wait()
        stopping = asyncio.create_task(server.stop(grace=0))
        assert (await connection.whole(stream_id)).status == gyr.StatusCode.CANCELLED
        await watched.cancelled.wait()
        await connection.closed_by_peer()
        await stopping


@pytest.mark.parametrize(
    "greeting",
    [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\x00" * 64],
)
async def test_what_is_no_http2_is_hung_up_on(greeting: bytes) -> None:
    async with gyr.Server([Calls()]) as server:
        port = await server.listen("127.0.0.1:0")
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(greeting)
            await reader.read()
            writer.close()
            await writer.wait_closed()


async def test_frames_that_break_the_connection_are_answered_with_goaway() -> None:
    async with raw_to() as (_, connection):
        # DATA on stream 0 (RFC 9113 6.1).
        await connection.send_bytes(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")
        terminated = await connection.next_event(h2.events.ConnectionTerminated)
        assert terminated.error_code == ErrorCodes.PROTOCOL_ERROR
        await connection.closed_by_peer()
