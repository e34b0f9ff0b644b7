"""The figures of the servers, channels and connections of this process.

Every function may be called from any thread. What it returns is a snapshot: figures of different
connections may be of slightly different moments.
"""

from __future__ import annotations

from .rpc.stats import (
    CHANNELS,
    CONNECTIONS,
    LISTENERS,
    SERVERS,
    SUBCHANNELS,
    CallStats,
    ChannelStats,
    ConnectionStats,
    ListenerStats,
    ServerStats,
    SubchannelStats,
    TlsStats,
)

__all__ = [
    "CallStats",
    "ChannelStats",
    "ConnectionStats",
    "ListenerStats",
    "ServerStats",
    "SubchannelStats",
    "TlsStats",
    "find_channel",
    "find_connection",
    "find_listener",
    "find_server",
    "find_subchannel",
    "list_channels",
    "list_servers",
]


def list_servers(first: int = 0, limit: int | None = None) -> list[ServerStats]:
    """The servers that have not stopped, by ascending id from `first` on, at most `limit`."""
    return SERVERS.select(first, limit)


def list_channels(first: int = 0, limit: int | None = None) -> list[ChannelStats]:
    """The channels that are not closed, by ascending id from `first` on, at most `limit`."""
    return CHANNELS.select(first, limit)


def find_server(number: int) -> ServerStats | None:
    """The server with that id; None when there is none (any more)."""
    return SERVERS.find(number)


def find_channel(number: int) -> ChannelStats | None:
    """The channel with that id; None when there is none (any more)."""
    return CHANNELS.find(number)


def find_subchannel(number: int) -> SubchannelStats | None:
    """The subchannel with that id; None when there is none (any more)."""
    return SUBCHANNELS.find(number)


def find_connection(number: int) -> ConnectionStats | None:
    """The connection with that id, of a server or a channel; None when there is none (any more)."""
    return CONNECTIONS.find(number)


def find_listener(number: int) -> ListenerStats | None:
    """The listening socket with that id; None when there is none (any more)."""
    return LISTENERS.find(number)
