"""The figures of servers, channels and connections: each counts what happened, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon import stats
from tests.call.service import SAFETY_NET_S, UNARY, Calls, Stub, collect, message
from tests.services.sockets import SocketStub, serving

pytestmark = pytest.mark.anyio

# What the clock of the figures may be behind (a tick of the kernel's is 1 to 10 ms).
COARSE_S = 0.02


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    if request.value == b"fail":
        raise gyr.NotFound("as asked")
    return request


async def echo_all(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


def both_ends(stub: SocketStub) -> tuple[stats.ConnectionStats, stats.ConnectionStats]:
    """The one connection, as client and as server have it."""
    (subchannel,) = (stats.find_subchannel(one) for one in stub.channel.stats().subchannels)
    assert subchannel is not None
    (near,), (far,) = subchannel.connections, stub.server.stats().connections
    client, server = stats.find_connection(near), stats.find_connection(far)
    assert client is not None
    assert server is not None
    return client, server


def calls_of(stub: SocketStub) -> dict[str, tuple[int, int, int]]:
    """(started, succeeded, failed) of channel, subchannel and server."""
    channel = stub.channel.stats()
    (subchannel,) = (stats.find_subchannel(one) for one in channel.subchannels)
    assert subchannel is not None
    return {
        name: (calls.started, calls.succeeded, calls.failed)
        for name, calls in (
            ("channel", channel.calls),
            ("subchannel", subchannel.calls),
            ("server", stub.server.stats().calls),
        )
    }


async def until(there: Callable[[], bool]) -> None:
    """Let the loop go on until that is so."""
    while not there():  # noqa: ASYNC110  (what is waited for tells nobody)
        await asyncio.sleep(0)


async def test_calls_are_counted_by_their_status() -> None:
    async with serving(unary=echo) as stub:
        for data in (b"a", b"fail", b"b"):
            await stub.unary(message(data)).status()
        counted = calls_of(stub)
    assert counted == {"channel": (3, 2, 1), "subchannel": (3, 2, 1), "server": (3, 2, 1)}


async def test_a_call_of_no_method_failed_on_both_sides() -> None:
    async with serving(unary=echo) as stub:
        await stub.bidi([message()]).status()
        counted = calls_of(stub)
    assert counted == {"channel": (1, 0, 1), "subchannel": (1, 0, 1), "server": (1, 0, 1)}


async def test_a_call_that_runs_has_neither_succeeded_nor_failed() -> None:
    async with serving(bidi=echo_all) as stub:
        async with stub.bidi() as call:
            await call.send(message(b"a"))
            await call.receive()
            running = calls_of(stub)
        counted = calls_of(stub)
        await until(lambda: stub.server.stats().calls.failed == 1)
    assert running == {"channel": (1, 0, 0), "subchannel": (1, 0, 0), "server": (1, 0, 0)}
    assert counted["channel"] == (1, 0, 1)


async def test_both_ends_of_a_connection_agree() -> None:
    async with serving(unary=echo, bidi=echo_all) as stub:
        await stub.unary(message(b"a"))
        await collect(stub.bidi([message(bytes(size)) for size in (0, 10, 20_000)]))
        client, server = both_ends(stub)
    assert (client.local, client.remote) == (server.remote, server.local)
    assert client.remote == f"ipv4:{stub.target}"
    assert (client.streams_started, client.streams_succeeded, client.streams_failed) == (2, 2, 0)
    assert (server.streams_started, server.streams_succeeded, server.streams_failed) == (2, 2, 0)
    assert (client.messages_sent, server.messages_received) == (4, 4)
    assert (server.messages_sent, client.messages_received) == (4, 4)


async def test_messages_count_when_they_are_out_and_not_before() -> None:
    """What waits for the peer's window has not been sent: that is what one looks for."""
    size, window = 50_000, 65_535

    async def hold(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        await release.wait()
        async for request in requests:
            yield request

    release = asyncio.Event()
    async with serving({"stream_window": window}, bidi=hold) as stub, stub.bidi() as call:
        for _ in range(3):
            await call.send(message(bytes(size)))
        await until(lambda: both_ends(stub)[1].messages_received == 1)
        client, _ = both_ends(stub)
        release.set()
        await call.done_sending()
        await collect(call)
        at_last, _ = both_ends(stub)
    assert client.messages_sent == 1
    assert at_last.messages_sent == 3


async def test_a_stream_that_is_reset_failed() -> None:
    async with serving(bidi=echo_all) as stub:
        async with stub.bidi() as call:
            await call.send(message(b"a"))
            await call.receive()
        await until(lambda: both_ends(stub)[1].streams_failed == 1)
        client, server = both_ends(stub)
    assert (client.streams_started, client.streams_succeeded, client.streams_failed) == (1, 0, 1)
    assert (server.streams_started, server.streams_succeeded, server.streams_failed) == (1, 0, 1)


async def test_windows_are_the_connections() -> None:
    options = {"connection_window": 100_000}
    async with serving(options, {"connection_window": 200_000}, unary=echo) as stub:
        await stub.unary(message())
        client, server = both_ends(stub)
    # An empty message takes five bytes of it; the server gives them back when they are worth it.
    assert (client.send_window, server.receive_window) == (100_000 - 5, 100_000 - 5)
    assert (server.send_window, client.receive_window) == (200_000 - 5, 200_000 - 5)
    assert server.peer_max_concurrent_streams == 2**32 - 1
    assert client.peer_max_concurrent_streams == 1000
    assert (client.received_goaway, server.received_goaway) == (None, None)


async def test_times_say_when_something_last_happened() -> None:
    async with serving(unary=echo) as stub:
        await stub.channel.wait_ready()
        idle = stub.channel.stats().calls.last_started
        before = time.time()
        await stub.unary(message(b"a"))
        after = time.time()
        client, server = both_ends(stub)
        started = [stub.channel.stats().calls, stub.server.stats().calls]
    assert idle is None
    assert (client.last_remote_stream, server.last_local_stream) == (None, None)
    moments = [
        client.last_local_stream,
        server.last_remote_stream,
        *(one.last_message_sent for one in (client, server)),
        *(one.last_message_received for one in (client, server)),
        *(one.last_started for one in started),
    ]
    late = [at for at in moments if at is None or not before - COARSE_S <= at <= after + COARSE_S]
    assert late == []


async def test_a_call_that_waits_for_a_connection_has_started() -> None:
    async with asyncio.timeout(SAFETY_NET_S), gyr.Channel("unix:/nowhere/at.all") as channel:
        call = Stub(channel).unary(message(), wait_for_ready=True)
        waiting = channel.stats().calls
        call.cancel()
        over = channel.stats().calls
    assert (waiting.started, waiting.failed, waiting.last_started is None) == (1, 0, False)
    assert (over.started, over.failed) == (1, 1)


async def test_what_is_over_stays_counted() -> None:
    async with serving(unary=echo) as stub:
        async with gyr.Channel(stub.target) as other:
            await Stub(other).unary(message(b"a"))
        await until(lambda: not stub.server.stats().connections)
        calls = stub.server.stats().calls
    assert (calls.started, calls.succeeded, calls.last_started is None) == (1, 1, False)


async def test_handlers_in_threads_and_blocking_channels_count_too() -> None:
    def threaded(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    def call(target: str) -> stats.CallStats:
        with gyr.blocking.Channel(target) as channel:
            gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)(message(b"a"))
            (own,) = (one for one in stats.list_channels() if one.calls.started)
            return own.calls

    async with serving(unary=threaded) as stub:
        near = await asyncio.to_thread(call, stub.target)
        far = stub.server.stats().calls
    assert (near.started, near.succeeded, near.failed) == (1, 1, 0)
    assert (far.started, far.succeeded, far.failed) == (1, 1, 0)


async def test_servers_and_channels_are_found_while_they_are_open() -> None:
    async with serving(unary=echo) as stub:
        server, channel = stub.server.stats(), stub.channel.stats()
        found = (stats.find_server(server.id), stats.find_channel(channel.id))
        listed = (
            stats.list_servers(server.id, 1)[0].id,
            stats.list_channels(channel.id, 1)[0].id,
        )
        (listener,) = server.listeners
        assert stats.find_listener(listener.id) == listener
        assert listener.addresses == (f"ipv4:{stub.target}",)
    assert [one and one.id for one in found] == [server.id, channel.id]
    assert listed == (server.id, channel.id)
    gone = [
        stats.find_server(server.id),
        stats.find_channel(channel.id),
        stats.find_listener(listener.id),
    ]
    assert gone == [None, None, None]


async def test_what_nobody_closed_is_forgotten_with_its_last_reference() -> None:
    server, channel = gyr.Server([Calls(unary=echo)]), gyr.Channel("127.0.0.1:1")
    numbers = server.stats().id, channel.stats().id
    del server, channel
    gc.collect()
    assert (stats.find_server(numbers[0]), stats.find_channel(numbers[1])) == (None, None)


async def test_lists_ascend_from_a_number_on() -> None:
    channels = [gyr.Channel("127.0.0.1:1") for _ in range(3)]
    numbers = [channel.stats().id for channel in channels]
    found = [one.id for one in stats.list_channels(numbers[1]) if one.id in numbers]
    limited = [one.id for one in stats.list_channels(numbers[0], 2)]
    assert found == numbers[1:]
    assert limited == numbers[:2]
    assert stats.list_channels(numbers[2] + 1_000_000) == []


async def test_figures_may_be_read_from_another_thread() -> None:
    done = threading.Event()
    trouble: list[BaseException] = []

    def read(stub: SocketStub) -> None:
        try:
            while not done.is_set():
                both_ends(stub)
                stats.list_servers()
                stats.list_channels()
        except BaseException as error:
            trouble.append(error)

    async with serving(unary=echo) as stub:
        await stub.unary(message())
        reader = asyncio.create_task(asyncio.to_thread(read, stub))
        for _ in range(200):
            await asyncio.gather(*(stub.unary(message(b"a")) for _ in range(5)))
        done.set()
        await reader
    assert trouble == []
    assert stub.server.stats().calls.succeeded == 1001


@asynccontextmanager
async def two_channels(target: str) -> AsyncIterator[None]:
    async with gyr.Channel(target) as one, gyr.Channel(target) as two:
        await one.wait_ready()
        await two.wait_ready()
        yield


async def test_connections_are_listed_in_the_order_of_their_ids() -> None:
    async with serving(unary=echo) as stub:
        await stub.unary(message())
        async with two_channels(stub.target):
            await until(lambda: len(stub.server.stats().connections) == 3)
            numbers = stub.server.stats().connections
    assert list(numbers) == sorted(set(numbers))
