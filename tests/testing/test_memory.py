"""Connections in memory are transports as asyncio has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.policy.target import TcpAddress
from gyrfalcon.testing import MemoryNetwork, serve
from tests.call.service import Calls, Stub, message

pytestmark = pytest.mark.anyio

ADDRESS = TcpAddress("192.0.2.1", 50051)
HIGH_WATER = 64 * 1024


class Peer(asyncio.Protocol):
    """Writes down what its transport tells it."""

    keeps_open = False

    def __init__(self) -> None:
        self.said: list[str] = []
        self.received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.said.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.said.append("eof")
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.said.append(f"lost {type(exc).__name__}" if exc else "lost")

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def joined(network: MemoryNetwork | None = None) -> AsyncIterator[tuple[Peer, Peer]]:
    """A client and the server that it is connected to."""
    network = network or MemoryNetwork()
    client, server = Peer(), Peer()
    loop = asyncio.get_running_loop()
    listener = await network.listen(loop, lambda: server, ADDRESS)
    await network.connect(loop, client, ADDRESS)
    yield client, server
    listener.close()
    for peer in (client, server):
        peer.transport.abort()
    await settle()


async def test_both_ends_know_each_other_by_address() -> None:
    async with joined() as (client, server):
        assert client.transport.get_extra_info("peername") == ("192.0.2.1", 50051)
        assert server.transport.get_extra_info("sockname") == ("192.0.2.1", 50051)
        own = client.transport.get_extra_info("sockname")
        assert server.transport.get_extra_info("peername") == own
        assert client.transport.get_extra_info("socket", "none") == "none"


async def test_bytes_arrive_in_order_when_the_loop_turns() -> None:
    async with joined() as (client, server):
        client.transport.write(b"one ")
        client.transport.writelines([b"two ", b"three"])
        server.transport.write(bytearray(b"four"))
        assert (client.received, server.received) == (b"", b"")
        await settle()
        assert (client.received, server.received) == (b"four", b"one two three")


async def test_a_reader_that_pauses_makes_the_writer_pause() -> None:
    async with joined() as (client, server):
        server.transport.pause_reading()
        client.transport.write(b"x" * HIGH_WATER)
        assert client.said == ["made"]
        client.transport.write(b"x")
        assert client.said == ["made", "pause"]
        assert client.transport.get_write_buffer_size() == HIGH_WATER + 1
        await settle()
        assert server.received == b""
        server.transport.resume_reading()
        await settle()
        assert client.said == ["made", "pause", "resume"]
        assert len(server.received) == HIGH_WATER + 1


async def test_closing_sends_what_was_written_and_then_the_end() -> None:
    async with joined() as (client, server):
        client.transport.write(b"last")
        client.transport.close()
        client.transport.write(b"dropped")
        assert client.transport.is_closing()
        await settle()
        assert server.received == b"last"
        assert server.said == ["made", "eof", "lost"]
        assert client.said == ["made", "lost"]


async def test_half_a_connection_may_go_on() -> None:
    async with joined() as (client, server):
        server.keeps_open = True
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            client.transport.write(b"more")
        await settle()
        server.transport.write(b"answer")
        await settle()
        assert (server.said, client.received) == (["made", "eof"], b"answer")


async def test_aborting_drops_what_was_written() -> None:
    async with joined() as (client, server):
        client.transport.write(b"dropped")
        client.transport.abort()
        await settle()
        assert (server.received, server.said) == (b"", ["made", "eof", "lost"])
        assert client.said == ["made", "lost"]


async def test_a_protocol_that_fails_loses_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with joined() as (client, server):
        cast("Any", server).data_received = lambda data: 1 / 0
        client.transport.write(b"x")
        await settle()
        assert server.said == ["made", "lost ZeroDivisionError"]
        assert client.said == ["made", "eof", "lost"]
    assert "its protocol failed" in caplog.text


async def test_a_reset_is_heard_at_both_ends() -> None:
    network = MemoryNetwork()
    async with joined(network) as (client, server):
        client.transport.write(b"x")
        assert network.faults("192.0.2.1:50051").reset() == 1
        await settle()
        assert client.said == server.said == ["made", "lost ConnectionResetError"]
        assert server.received == b""


async def test_connecting_can_be_given_up() -> None:
    network = MemoryNetwork()
    client, server = Peer(), Peer()
    loop = asyncio.get_running_loop()
    await network.listen(loop, lambda: server, ADDRESS)
    connecting = asyncio.create_task(network.connect(loop, client, ADDRESS))
    await asyncio.sleep(0)
    connecting.cancel()
    await asyncio.wait([connecting])
    await settle()
    assert client.said in ([], ["made", "lost"])
    assert server.said in ([], ["made", "eof", "lost"])
    assert network.faults("192.0.2.1:50051").connections == 0


async def test_connections_wait_for_a_listener_that_is_not_started() -> None:
    network = MemoryNetwork()
    loop = asyncio.get_running_loop()
    client, server = Peer(), Peer()
    listener = await network.listen(loop, lambda: server, ADDRESS, start=False)
    connecting = asyncio.create_task(network.connect(loop, client, ADDRESS))
    await settle()
    assert (client.said, connecting.done()) == ([], False)
    await listener.start()
    await connecting
    assert (client.said, server.said) == (["made"], ["made"])
    client.transport.close()
    await settle()


async def test_a_listener_that_never_starts_refuses_when_it_is_closed() -> None:
    network = MemoryNetwork()
    loop = asyncio.get_running_loop()
    listener = await network.listen(loop, Peer, ADDRESS, start=False)
    connecting = asyncio.create_task(network.connect(loop, Peer(), ADDRESS))
    await settle()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await connecting
    with pytest.raises(ConnectionRefusedError):
        await network.connect(loop, Peer(), ADDRESS)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "[::]"])
async def test_every_interface_is_reached_under_every_name(host: str) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    network = MemoryNetwork()
    async with gyr.Server([Calls(unary=echo)], network=network) as server:
        await server.listen(f"{host}:50051")
        for name in ("localhost", "shop", "10.1.2.3"):
            async with gyr.Channel(f"{name}:50051", network=network) as channel:
                assert (await Stub(channel).unary(message(b"x"))).value == b"x"


async def test_networks_know_nothing_of_each_other() -> None:
    async with (
        serve(Calls(), address="shop:50051"),
        gyr.Channel("shop:50051", network=MemoryNetwork()) as channel,
    ):
        with pytest.raises(gyr.Unavailable, match="refused"):
            await Stub(channel).unary(message())


async def test_a_network_of_ones_own_connects_in_its_own_way() -> None:
    class Tunnel(gyr.Network):
        """Leads every connection to one place."""

        async def connect(
            self, loop: asyncio.AbstractEventLoop, protocol: Any, address: Any
        ) -> None:
            asked.append(str(address))
            await super().connect(loop, protocol, TcpAddress("127.0.0.1", port))

        async def look_up(
            self, loop: asyncio.AbstractEventLoop, host: str, port: int
        ) -> list[TcpAddress]:
            return [TcpAddress("203.0.113.9", port)]

    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    asked: list[str] = []
    async with gyr.Server([Calls(unary=echo)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel("shop.internal:443", network=Tunnel()) as channel:
            assert (await Stub(channel).unary(message(b"x"))).value == b"x"
    assert asked == ["203.0.113.9:443"]
