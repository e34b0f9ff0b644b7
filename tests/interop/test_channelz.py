"""grpc.channelz.v1 between this and grpcio-channelz, in both directions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import grpc.aio
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_channelz.v1 import channelz, channelz_pb2, channelz_pb2_grpc

import gyrfalcon as gyr
from gyrfalcon.services import Channelz
from gyrfalcon.services.proto.grpc.channelz.v1 import channelz_pb2 as own_pb2
from gyrfalcon.services.proto.grpc.channelz.v1.channelz_gyr import ChannelzStub
from retail.proto.order_management_gyr import OrderManagementStub
from tests.call.service import SAFETY_NET_S
from tests.services.serving import joined

pytestmark = pytest.mark.anyio


async def test_a_stock_client_reads_a_server_down_to_its_sockets() -> None:
    async with joined(Channelz()) as (server, channel):
        await OrderManagementStub(channel).get_order(StringValue(value="1"))
        async with grpc.aio.insecure_channel(channel.target) as asking:
            stub = channelz_pb2_grpc.ChannelzStub(asking)  # pyright: ignore[reportArgumentType]
            number = server.stats().id
            one = await stub.GetServer(channelz_pb2.GetServerRequest(server_id=number))
            listed = await stub.GetServers(channelz_pb2.GetServersRequest(start_server_id=number))
            sockets = await stub.GetServerSockets(
                channelz_pb2.GetServerSocketsRequest(server_id=number)
            )
            first = await stub.GetSocket(
                channelz_pb2.GetSocketRequest(socket_id=sockets.socket_ref[0].socket_id)
            )
    assert one.server.ref.server_id == number
    assert (one.server.data.calls_started, one.server.data.calls_succeeded) == (2, 1)
    assert [found.ref.server_id for found in listed.server] == [number]
    assert (len(sockets.socket_ref), sockets.end) == (2, True)
    data = first.socket.data
    assert (data.streams_started, data.streams_succeeded, data.messages_sent) == (1, 1, 1)
    assert data.last_message_sent_timestamp.ToSeconds() > 0
    assert data.remote_flow_control_window.value > 0
    assert first.socket.local.tcpip_address.ip_address == bytes([127, 0, 0, 1])


async def test_a_stock_client_reads_a_channel_down_to_its_socket() -> None:
    async with joined(Channelz()) as (_, channel):
        orders = OrderManagementStub(channel)
        await orders.get_order(StringValue(value="1"))
        await orders.get_order(StringValue(value="none")).status()
        async with grpc.aio.insecure_channel(channel.target) as asking:
            stub = channelz_pb2_grpc.ChannelzStub(asking)  # pyright: ignore[reportArgumentType]
            start = channel.stats().id
            listed = await stub.GetTopChannels(
                channelz_pb2.GetTopChannelsRequest(start_channel_id=start)
            )
            (top,) = listed.channel
            below = await stub.GetSubchannel(
                channelz_pb2.GetSubchannelRequest(subchannel_id=top.subchannel_ref[0].subchannel_id)
            )
            socket = await stub.GetSocket(
                channelz_pb2.GetSocketRequest(socket_id=below.subchannel.socket_ref[0].socket_id)
            )
    assert top.data.state.state == channelz_pb2.ChannelConnectivityState.READY
    assert (top.data.calls_succeeded, top.data.calls_failed) == (1, 1)
    assert (below.subchannel.data.calls_succeeded, below.subchannel.data.calls_failed) == (1, 1)
    assert (socket.socket.data.messages_sent, socket.socket.data.messages_received) == (2, 1)


async def test_a_stock_server_is_read() -> None:
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, options=[("grpc.enable_channelz", 1)])
        channelz.add_channelz_servicer(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            async with asyncio.timeout(SAFETY_NET_S), gyr.Channel(f"127.0.0.1:{port}") as channel:
                stub = ChannelzStub(channel)
                servers = await stub.get_servers(own_pb2.GetServersRequest())
                found = []
                # The process may have others, which grpcio is still taking down.
                for one in servers.server:
                    with suppress(gyr.NotFound):
                        sockets = await stub.get_server_sockets(
                            own_pb2.GetServerSocketsRequest(server_id=one.ref.server_id)
                        )
                        for ref in sockets.socket_ref:
                            request = own_pb2.GetSocketRequest(socket_id=ref.socket_id)
                            found.append((await stub.get_socket(request)).socket)
                (socket,) = (one for one in found if one.local.tcpip_address.port == port)
        finally:
            await asyncio.to_thread(server.stop(None).wait)
    assert socket.data.streams_started >= 2
    assert socket.data.HasField("last_message_received_timestamp")
