"""`serve`: what it joins, for both faces, and how it ends."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.policy import RoundRobin
from gyrfalcon.testing import Clock, MemoryNetwork, serve
from tests.call.service import UNARY, Calls, Stub, message
from tests.conftest import open_descriptors

SERVER, CLIENT = "ipv4:192.0.2.1:50051", "ipv4:192.0.2.254:"


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def tell_peer(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return message(ctx.peer.encode())


class Hanging:
    """A handler that waits until it is cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = False

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return request


def blocking_unary(
    channel: gyr.blocking.Channel,
) -> gyr.blocking.UnaryUnary[BytesValue, BytesValue]:
    return gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)


@pytest.mark.anyio
async def test_a_server_and_a_channel_are_joined_without_a_socket() -> None:
    before = open_descriptors()
    async with serve(Calls(unary=tell_peer)) as channel:
        call = Stub(channel).unary(message())
        assert (await call).value.startswith(CLIENT.encode())
        assert call.peer == SERVER
        assert open_descriptors() == before


@pytest.mark.anyio
async def test_several_channels_reach_one_server_and_end_with_the_block() -> None:
    served = serve(Calls(unary=echo), channel_options={"default_timeout": 5.0}, clock=Clock())
    async with served as first:
        second = served.channel(default_timeout=7.0)
        calls = [Stub(channel).unary(message(b"x")) for channel in (first, second)]
        assert [call.time_remaining() for call in calls] == [5.0, 7.0]
        assert [(await call).value for call in calls] == [b"x", b"x"]
        assert served.faults.connections == 2
    assert {first.state.name, second.state.name} == {"SHUTDOWN"}
    assert served.faults.connections == 0


@pytest.mark.anyio
async def test_the_options_go_to_server_and_channel() -> None:
    limits = {"server_options": {"max_receive_bytes": 100}, "channel_options": {"user_agent": "me"}}
    agents = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        agents.append(str(ctx.metadata["user-agent"]).partition(" ")[0])
        return request

    async with serve(Calls(unary=note), **limits) as channel:  # type: ignore[arg-type]
        await Stub(channel).unary(message())
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=100"):
            await Stub(channel).unary(message(b"x" * 200))
    assert agents == ["me"]


@pytest.mark.anyio
async def test_leaving_the_block_cancels_what_runs() -> None:
    handler = Hanging()
    async with serve(Calls(unary=handler.unary)) as channel:
        call = Stub(channel).unary(message())
        await handler.started.wait()
    assert call.cancelled()
    assert handler.cancelled


@pytest.mark.anyio
async def test_it_ends_though_its_clock_stands_still_and_a_handler_does_not_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def stubborn(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return request

    clock = Clock()
    async with serve(Calls(unary=stubborn), clock=clock, server_options={"grace": 0}) as channel:
        call = Stub(channel).unary(message())
        await started.wait()
    assert call.cancelled()
    assert "they do not end when cancelled" in caplog.text
    release.set()
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_it_serves_once() -> None:
    served = serve(Calls(unary=echo))
    async with served:
        pass
    with pytest.raises(RuntimeError, match="serves once"):
        await served
    await served.aclose()


@pytest.mark.anyio
async def test_without_a_block_it_is_awaited_and_closed() -> None:
    served = serve(Calls(unary=echo))
    channel = await served
    assert (await Stub(channel).unary(message(b"x"))).value == b"x"
    with pytest.raises(RuntimeError, match="aclose"):
        served.close()
    await served.aclose()
    await served.aclose()
    assert channel.state.name == "SHUTDOWN"


@pytest.mark.anyio
async def test_large_messages_come_whole_in_both_directions() -> None:
    data = bytes(range(256)) * 12_000
    async with serve(Calls(unary=echo)) as channel:
        replies = await asyncio.gather(*(Stub(channel).unary(message(data)) for _ in range(3)))
    assert [reply.value == data for reply in replies] == [True] * 3


@pytest.mark.anyio
async def test_one_channel_balances_over_servers_of_one_network() -> None:
    network = MemoryNetwork()

    def named(name: bytes) -> Calls:
        async def tell(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return message(name)

        return Calls(unary=tell)

    async with (
        serve(named(b"bath"), network=network, address="10.0.0.1:443"),
        serve(named(b"ely"), network=network, address="10.0.0.2:443"),
        gyr.Channel("ipv4:10.0.0.1,10.0.0.2", network=network, balancer=RoundRobin) as channel,
    ):
        await channel.wait_ready()
        seen: set[bytes] = set()
        while len(seen) < 2:
            seen.add((await Stub(channel).unary(message())).value)
    assert seen == {b"bath", b"ely"}


@pytest.mark.anyio
@pytest.mark.parametrize("address", ["unix:/run/shop.sock", "shop:50051", "[2001:db8::1]:50051"])
async def test_an_address_means_what_it_means_elsewhere(address: str) -> None:
    async with serve(Calls(unary=echo), address=address) as channel:
        call = Stub(channel).unary(message(b"x"))
        assert (await call).value == b"x"
        expected = {"unix": address, "shop": "ipv4:172.31.0.1:50051"}
        assert call.peer == expected.get(address.partition(":")[0], f"ipv6:{address}")


@pytest.mark.anyio
async def test_port_0_is_a_free_one() -> None:
    network = MemoryNetwork()
    served = [serve(Calls(unary=echo), network=network, address="shop:0") for _ in range(2)]
    async with served[0] as first, served[1] as second:
        assert served[0].target != served[1].target
        for channel in (first, second):
            assert (await Stub(channel).unary(message(b"x"))).value == b"x"


@pytest.mark.anyio
async def test_an_address_that_is_taken_is_refused() -> None:
    network = MemoryNetwork()
    async with serve(Calls(unary=echo), network=network):
        with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:50051: .*in use"):
            await serve(Calls(unary=echo), network=network)


def test_a_clock_beside_a_network_is_refused() -> None:
    with pytest.raises(ValueError, match="one of clock= and network="):
        serve(Calls(), clock=Clock(), network=MemoryNetwork())
    clock = Clock()
    assert serve(Calls(), clock=clock, network=MemoryNetwork(clock=clock)).clock is clock


# ---------------------------------------------------------------------- threads


def test_the_blocking_face() -> None:
    with serve(Calls(unary=tell_peer)) as channel:
        call = blocking_unary(channel).future(message())
        assert call.result().value.startswith(CLIENT.encode())
        assert call.peer == SERVER
        assert blocking_unary(channel)(message()).value.startswith(CLIENT.encode())
    assert channel.state.name == "SHUTDOWN"


def test_handlers_have_the_context_of_the_block() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")

    async def tell(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(tenant.get().encode())

    tenant.set("eu")
    with serve(Calls(unary=tell)) as channel:
        assert blocking_unary(channel)(message()).value == b"eu"


def test_large_messages_from_threads() -> None:
    data = bytes(range(256)) * 12_000
    with serve(Calls(unary=echo)) as channel:
        futures = [blocking_unary(channel).future(message(data)) for _ in range(5)]
        assert [future.result().value == data for future in futures] == [True] * 5


def test_many_threads_share_a_served_channel() -> None:
    replies = []
    with serve(Calls(unary=echo)) as channel:
        unary = blocking_unary(channel)

        def call(number: int) -> None:
            replies.append(unary(message(b"%d" % number)).value)

        threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(replies, key=int) == [b"%d" % number for number in range(20)]


def test_a_fault_in_the_address_leaves_no_thread() -> None:
    with pytest.raises(ValueError, match="no port"), serve(Calls(), address="shop"):
        pass
    network = MemoryNetwork()
    with serve(Calls(), network=network), pytest.raises(OSError, match="in use"):
        serve(Calls(), network=network).open()


def test_leaving_a_blocking_block_cancels_what_runs() -> None:
    started = threading.Event()
    cancelled = threading.Event()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return request

    with serve(Calls(unary=hang), clock=Clock()) as channel:
        future = blocking_unary(channel).future(message())
        assert started.wait(30)
    assert future.cancelled()
    assert cancelled.is_set()


@pytest.mark.anyio
async def test_both_faces_at_once() -> None:
    served = serve(Calls(unary=echo))
    async with served as channel:
        blocking = served.blocking_channel()
        reply = await asyncio.to_thread(blocking_unary(blocking), message(b"thread"))
        assert reply.value == b"thread"
        assert (await Stub(channel).unary(message(b"loop"))).value == b"loop"


@pytest.mark.anyio
async def test_an_asyncio_channel_of_another_loop() -> None:
    served = serve(Calls(unary=tell_peer))

    async def call() -> tuple[bytes, str | None]:
        async with served.channel() as channel:
            made = Stub(channel).unary(message())
            return (await made).value, made.peer

    async with served:
        told, peer = await asyncio.to_thread(asyncio.run, call())
    assert told.startswith(CLIENT.encode())
    assert peer == SERVER
