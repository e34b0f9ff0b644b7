"""grpc.channelz.v1: what goes on in the channels, servers and connections of this process."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf import timestamp_pb2

import gyrfalcon as gyr
from gyrfalcon import stats

from .proto.grpc.channelz.v1 import channelz_pb2
from .proto.grpc.channelz.v1 import channelz_pb2 as pb
from .proto.grpc.channelz.v1.channelz_gyr import (
    ChannelzBlockingStub,
    ChannelzService,
    ChannelzStub,
)

__all__ = ["Channelz", "ChannelzBlockingStub", "ChannelzStub", "channelz_pb2"]

_T = TypeVar("_T")

# Of channels, servers, sockets in one answer, whatever is asked for.
MAX_RESULTS = 100


class Channelz(ChannelzService):
    """The channelz service: it tells of every server and channel of the process, not only of the
    server that serves it. It keeps nothing of its own; the figures are those of `gyr.stats`.

    Clients page through long lists: one answer has at most 100 entries.
    """

    async def get_top_channels(
        self, request: pb.GetTopChannelsRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetTopChannelsResponse:
        """The channels, by ascending id."""
        limit = _limit(request.max_results)
        found = stats.list_channels(request.start_channel_id, limit + 1)
        return pb.GetTopChannelsResponse(
            channel=[_channel(figures) for figures in found[:limit]], end=len(found) <= limit
        )

    async def get_servers(
        self, request: pb.GetServersRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetServersResponse:
        """The servers, by ascending id."""
        limit = _limit(request.max_results)
        found = stats.list_servers(request.start_server_id, limit + 1)
        return pb.GetServersResponse(
            server=[_server(figures) for figures in found[:limit]], end=len(found) <= limit
        )

    async def get_server(
        self, request: pb.GetServerRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetServerResponse:
        """One server; NotFound."""
        found = _known(stats.find_server(request.server_id), "server", request.server_id)
        return pb.GetServerResponse(server=_server(found))

    async def get_server_sockets(
        self, request: pb.GetServerSocketsRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetServerSocketsResponse:
        """The connections of one server, by ascending id; NotFound."""
        limit = _limit(request.max_results)
        server = _known(stats.find_server(request.server_id), "server", request.server_id)
        found = [number for number in server.connections if number >= request.start_socket_id]
        return pb.GetServerSocketsResponse(
            socket_ref=_sockets(found[:limit]), end=len(found) <= limit
        )

    async def get_channel(
        self, request: pb.GetChannelRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetChannelResponse:
        """One channel; NotFound."""
        found = _known(stats.find_channel(request.channel_id), "channel", request.channel_id)
        return pb.GetChannelResponse(channel=_channel(found))

    async def get_subchannel(
        self, request: pb.GetSubchannelRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetSubchannelResponse:
        """One subchannel; NotFound."""
        number = request.subchannel_id
        found = _known(stats.find_subchannel(number), "subchannel", number)
        return pb.GetSubchannelResponse(
            subchannel=pb.Subchannel(
                ref=pb.SubchannelRef(subchannel_id=found.id, name=found.target),
                data=_data(found),
                socket_ref=_sockets(found.connections),
            )
        )

    async def get_socket(
        self, request: pb.GetSocketRequest, ctx: gyr.ServerContext, /
    ) -> pb.GetSocketResponse:
        """One connection, or a socket that is listened on; NotFound."""
        number = request.socket_id
        connection = stats.find_connection(number)
        if connection is not None:
            return pb.GetSocketResponse(socket=_socket(connection))
        listener = _known(stats.find_listener(number), "socket", number)
        return pb.GetSocketResponse(
            socket=pb.Socket(
                ref=pb.SocketRef(socket_id=listener.id, name=listener.name),
                local=_address(listener.addresses[0]),
            )
        )


def _limit(asked: int) -> int:
    return min(asked, MAX_RESULTS) if asked > 0 else MAX_RESULTS


def _known(found: _T | None, what: str, number: int) -> _T:
    if found is None:
        raise gyr.NotFound(f"no {what} has the id {number}")
    return found


def _server(figures: stats.ServerStats) -> pb.Server:
    server = pb.Server(
        ref=pb.ServerRef(server_id=figures.id, name=", ".join(x.name for x in figures.listeners)),
        data=pb.ServerData(
            calls_started=figures.calls.started,
            calls_succeeded=figures.calls.succeeded,
            calls_failed=figures.calls.failed,
        ),
        listen_socket=[
            pb.SocketRef(socket_id=listener.id, name=listener.name)
            for listener in figures.listeners
        ],
    )
    _set_time(server.data.trace.creation_timestamp, figures.created)
    if figures.calls.last_started is not None:
        _set_time(server.data.last_call_started_timestamp, figures.calls.last_started)
    return server


def _channel(figures: stats.ChannelStats) -> pb.Channel:
    return pb.Channel(
        ref=pb.ChannelRef(channel_id=figures.id, name=figures.target),
        data=_data(figures),
        subchannel_ref=_subchannels(figures.subchannels),
    )


def _data(figures: stats.ChannelStats | stats.SubchannelStats) -> pb.ChannelData:
    data = pb.ChannelData(
        state=pb.ChannelConnectivityState(state=figures.state),
        target=figures.target,
        calls_started=figures.calls.started,
        calls_succeeded=figures.calls.succeeded,
        calls_failed=figures.calls.failed,
    )
    _set_time(data.trace.creation_timestamp, figures.created)
    if figures.calls.last_started is not None:
        _set_time(data.last_call_started_timestamp, figures.calls.last_started)
    return data


def _sockets(numbers: Iterable[int]) -> list[pb.SocketRef]:
    found = ((number, stats.find_connection(number)) for number in numbers)
    return [
        pb.SocketRef(socket_id=number, name=connection.remote if connection else "")
        for number, connection in found
    ]


def _subchannels(numbers: Iterable[int]) -> list[pb.SubchannelRef]:
    found = ((number, stats.find_subchannel(number)) for number in numbers)
    return [
        pb.SubchannelRef(subchannel_id=number, name=subchannel.target if subchannel else "")
        for number, subchannel in found
    ]


def _socket(figures: stats.ConnectionStats) -> pb.Socket:
    data = pb.SocketData(
        streams_started=figures.streams_started,
        streams_succeeded=figures.streams_succeeded,
        streams_failed=figures.streams_failed,
        messages_sent=figures.messages_sent,
        messages_received=figures.messages_received,
        keep_alives_sent=figures.keepalives_sent,
        peer_max_concurrent_streams=figures.peer_max_concurrent_streams,
    )
    for timestamp, moment in (
        ("last_local_stream_created_timestamp", figures.last_local_stream),
        ("last_remote_stream_created_timestamp", figures.last_remote_stream),
        ("last_message_sent_timestamp", figures.last_message_sent),
        ("last_message_received_timestamp", figures.last_message_received),
    ):
        if moment is not None:
            _set_time(getattr(data, timestamp), moment)
    # The window that the other end granted to this one is the "local" one.
    data.local_flow_control_window.value = figures.send_window
    data.remote_flow_control_window.value = figures.receive_window
    if figures.received_goaway is not None:
        data.received_goaway_error.value = figures.received_goaway
    return pb.Socket(
        ref=pb.SocketRef(socket_id=figures.id, name=figures.remote),
        data=data,
        local=_address(figures.local),
        remote=_address(figures.remote),
        security=None if figures.tls is None else _security(figures.tls),
    )


def _security(tls: stats.TlsStats) -> pb.Security:
    agreed = pb.Security.Tls(
        local_certificate=tls.local_certificate, remote_certificate=tls.remote_certificate
    )
    if tls.cipher.startswith("TLS_"):
        agreed.standard_name = tls.cipher
    else:
        # Up to TLS 1.2 OpenSSL has names of its own.
        agreed.other_name = tls.cipher
    return pb.Security(tls=agreed)


def _set_time(timestamp: timestamp_pb2.Timestamp, moment: float) -> None:
    timestamp.FromNanoseconds(int(moment * 1e9))


def _address(text: str) -> pb.Address:
    """An address as gRPC writes it, in channelz's way."""
    scheme, _, rest = text.partition(":")
    address = pb.Address()
    if scheme in ("ipv4", "ipv6"):
        host, _, port = rest.rpartition(":")
        # A link-local address may name its interface: "fe80::1%eth0".
        packed = ipaddress.ip_address(host.strip("[]").partition("%")[0]).packed
        address.tcpip_address.ip_address = packed
        address.tcpip_address.port = int(port)
    elif scheme in ("unix", "unix-abstract"):
        address.uds_address.filename = rest if scheme == "unix" else f"@{rest}"
    else:
        address.other_address.name = text
    return address
