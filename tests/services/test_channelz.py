"""Channelz: the figures of `gyr.stats` in its words, pages, and what is not found."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from gyrfalcon import stats
from gyrfalcon.services import Channelz, channelz
from gyrfalcon.services.proto.grpc.channelz.v1 import channelz_pb2 as pb
from gyrfalcon.services.proto.grpc.channelz.v1.channelz_gyr import ChannelzStub
from retail.proto.order_management_gyr import OrderManagementStub
from tests.services.serving import Orders, joined

pytestmark = pytest.mark.anyio


async def call_some(channel: gyr.Channel) -> None:
    """Two calls that succeed and one that fails."""
    orders = OrderManagementStub(channel)
    for value in ("1", "none", "2"):
        await orders.get_order(StringValue(value=value)).status()


async def test_a_server_and_its_sockets() -> None:
    async with joined(Channelz()) as (server, channel):
        await call_some(channel)
        stub = ChannelzStub(channel)
        number = server.stats().id
        found = (await stub.get_server(pb.GetServerRequest(server_id=number))).server
        sockets = await stub.get_server_sockets(pb.GetServerSocketsRequest(server_id=number))
        (socket_ref,), (listen_ref,) = sockets.socket_ref, found.listen_socket
        socket = (await stub.get_socket(pb.GetSocketRequest(socket_id=socket_ref.socket_id))).socket
        listener = (
            await stub.get_socket(pb.GetSocketRequest(socket_id=listen_ref.socket_id))
        ).socket
        port = int(listen_ref.name.rpartition(":")[2])
    assert found.ref.server_id == number
    # The call that asks runs.
    data = found.data
    assert (data.calls_started, data.calls_succeeded, data.calls_failed) == (4, 2, 1)
    assert data.last_call_started_timestamp.seconds >= data.trace.creation_timestamp.seconds - 1
    assert sockets.end is True
    assert socket_ref.name == socket.ref.name
    # Of six streams the last is the one that asks.
    counted = socket.data
    assert (counted.streams_started, counted.streams_succeeded) == (6, 5)
    assert (counted.messages_received, counted.messages_sent) == (6, 4)
    assert counted.HasField("last_message_received_timestamp")
    assert not counted.HasField("last_local_stream_created_timestamp")
    assert 0 < counted.local_flow_control_window.value < 16 * 2**20
    assert 0 < counted.remote_flow_control_window.value < 16 * 2**20
    local = ipaddress.ip_address(socket.local.tcpip_address.ip_address)
    assert (str(local), socket.local.tcpip_address.port) == ("127.0.0.1", port)
    assert listener.local == socket.local
    assert not listener.HasField("data")


async def test_a_channel_its_subchannel_and_its_socket() -> None:
    async with joined(Channelz()) as (_, channel):
        await call_some(channel)
        stub = ChannelzStub(channel)
        number = channel.stats().id
        found = (await stub.get_channel(pb.GetChannelRequest(channel_id=number))).channel
        (ref,) = found.subchannel_ref
        below = (
            await stub.get_subchannel(pb.GetSubchannelRequest(subchannel_id=ref.subchannel_id))
        ).subchannel
        (socket_ref,) = below.socket_ref
        socket = (await stub.get_socket(pb.GetSocketRequest(socket_id=socket_ref.socket_id))).socket
    ready = pb.ChannelConnectivityState.READY
    assert (found.ref.name, found.data.target) == (channel.target, channel.target)
    assert (ref.name, below.ref.name) == (channel.target, channel.target)
    assert socket_ref.name == f"ipv4:{channel.target}"
    for calls, started in ((found.data, 4), (below.data, 5)):
        assert calls.state.state == ready
        assert calls.calls_started == started
        assert calls.calls_failed == 1
    assert (found.data.calls_succeeded, below.data.calls_succeeded) == (2, 3)
    assert socket.data.HasField("last_local_stream_created_timestamp")
    assert socket.data.peer_max_concurrent_streams == 1000


async def read_all(page: Any) -> list[int]:
    """The ids of a list that is read one entry a page."""
    found: list[int] = []
    while True:
        ids, end = await page(found[-1] + 1 if found else 0)
        assert len(ids) <= 1
        found += ids
        if end:
            return found


async def test_lists_come_in_pages() -> None:
    others = [gyr.Channel("127.0.0.1:1") for _ in range(2)]
    async with joined(Channelz()) as (server, channel), gyr.Server([Orders()]) as second:
        stub = ChannelzStub(channel)

        async def channels(start: int) -> tuple[list[int], bool]:
            answer = await stub.get_top_channels(
                pb.GetTopChannelsRequest(start_channel_id=start, max_results=1)
            )
            return [one.ref.channel_id for one in answer.channel], answer.end

        async def servers(start: int) -> tuple[list[int], bool]:
            answer = await stub.get_servers(
                pb.GetServersRequest(start_server_id=start, max_results=1)
            )
            return [one.ref.server_id for one in answer.server], answer.end

        async def sockets(start: int) -> tuple[list[int], bool]:
            answer = await stub.get_server_sockets(
                pb.GetServerSocketsRequest(
                    server_id=server.stats().id, start_socket_id=start, max_results=1
                )
            )
            return [one.socket_id for one in answer.socket_ref], answer.end

        async with gyr.Channel(channel.target) as third:
            await third.wait_ready()
            assert await read_all(channels) == [one.id for one in stats.list_channels()]
            assert await read_all(servers) == [one.id for one in stats.list_servers()]
            assert await read_all(sockets) == list(server.stats().connections)
        assert second.stats().id in [one.id for one in stats.list_servers()]
    del others


async def test_an_answer_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channelz, "MAX_RESULTS", 2)
    others = [gyr.Channel("127.0.0.1:1") for _ in range(3)]
    async with joined(Channelz()) as (_, channel):
        stub = ChannelzStub(channel)
        for asked in (0, 3, -1):
            answer = await stub.get_top_channels(pb.GetTopChannelsRequest(max_results=asked))
            assert (len(answer.channel), answer.end) == (2, False)
    del others


@pytest.mark.parametrize(
    ("method", "request_message", "what"),
    [
        ("get_server", pb.GetServerRequest(server_id=10**12), "server"),
        ("get_server_sockets", pb.GetServerSocketsRequest(server_id=10**12), "server"),
        ("get_channel", pb.GetChannelRequest(channel_id=10**12), "channel"),
        ("get_subchannel", pb.GetSubchannelRequest(subchannel_id=10**12), "subchannel"),
        ("get_socket", pb.GetSocketRequest(socket_id=10**12), "socket"),
    ],
)
async def test_what_is_not_there_is_not_found(method: str, request_message: Any, what: str) -> None:
    async with joined(Channelz()) as (_, channel):
        with pytest.raises(gyr.NotFound, match=f"no {what} has the id {10**12}"):
            await getattr(ChannelzStub(channel), method)(request_message)


async def test_a_server_that_has_stopped_is_not_listed() -> None:
    async with joined(Channelz()) as (_, channel):
        second = gyr.Server([Orders()])
        number = second.stats().id
        await second.stop()
        with pytest.raises(gyr.NotFound):
            await ChannelzStub(channel).get_server(pb.GetServerRequest(server_id=number))


async def test_unix_sockets_have_file_names(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with gyr.Server([Channelz()]) as server:
        await server.listen(f"unix:{path}")
        async with gyr.Channel(f"unix:{path}") as channel:
            await channel.wait_ready()
            (number,) = server.stats().connections
            answer = await ChannelzStub(channel).get_socket(pb.GetSocketRequest(socket_id=number))
    assert answer.socket.local.uds_address.filename == str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ipv6:[::1]:50051", (b"\0" * 15 + b"\1", 50051)),
        ("ipv6:[fe80::1%eth0]:7", (b"\xfe\x80" + b"\0" * 13 + b"\1", 7)),
        ("ipv4:10.0.0.1:80", (b"\n\0\0\1", 80)),
    ],
)
async def test_addresses_are_written_in_bytes(text: str, expected: tuple[bytes, int]) -> None:
    address = channelz._address(text).tcpip_address
    assert (address.ip_address, address.port) == expected


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("unix-abstract:a b", "uds_address", "@a b"),
        ("unix:", "uds_address", ""),
        ("unknown", "other_address", "unknown"),
    ],
)
async def test_other_addresses_are_written_as_names(text: str, field: str, expected: str) -> None:
    address = channelz._address(text)
    assert address.WhichOneof("address") == field
    named = getattr(address, field)
    assert (named.filename if field == "uds_address" else named.name) == expected
