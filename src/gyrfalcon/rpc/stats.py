"""What servers, channels and connections count, and where those of this process are found.

The figures are collected where the calls are; nothing in here is on the way of one.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallStats:
    """Calls so far. A call that is neither succeeded nor failed runs."""

    started: int = 0
    succeeded: int = 0
    """Those that ended with OK."""
    failed: int = 0
    last_started: float | None = None
    """When the last one began, in seconds as `time.time()` has them; None: there was none."""

    def __add__(self, other: CallStats) -> CallStats:
        """Both together."""
        return CallStats(
            self.started + other.started,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            latest((self.last_started, other.last_started)),
        )


@dataclass(frozen=True, slots=True)
class TlsStats:
    """What the ends of a connection agreed on."""

    version: str
    """"TLSv1.3" or "TLSv1.2"."""
    cipher: str
    """OpenSSL's name, for TLS 1.3 the standard's own: "TLS_AES_256_GCM_SHA384"."""
    local_certificate: bytes
    """The certificate of this end, DER; empty: none, or that of an SSLContext."""
    remote_certificate: bytes
    """The certificate of the other end, DER; empty: it showed none."""


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """One connection. Times are seconds as `time.time()` has them, a few milliseconds coarse;
    None: it did not happen yet."""

    id: int
    local: str
    """This end, "ipv4:127.0.0.1:50051"."""
    remote: str
    """The other end."""
    streams_started: int
    streams_succeeded: int
    """Those that the server ended itself, whatever the status that it gave."""
    streams_failed: int
    """Those that were reset, or lost with the connection."""
    messages_sent: int
    """Messages handed to the transport."""
    messages_received: int
    keepalives_sent: int
    """PINGs that ask whether the peer is still there."""
    last_local_stream: float | None
    """When this end last opened a stream."""
    last_remote_stream: float | None
    """When the other end last opened one."""
    last_message_sent: float | None
    last_message_received: float | None
    send_window: int
    """Bytes that the peer takes at present, all streams together."""
    receive_window: int
    """Bytes that the peer may send at present, all streams together."""
    received_goaway: int | None
    """The HTTP/2 error code of the peer's GOAWAY; None: it sent none."""
    peer_max_concurrent_streams: int
    """What the peer allows at once; 2**32-1 when it did not say."""
    tls: TlsStats | None = None
    """None: plaintext."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """How often each limit was met on it, by name (rpc.limits); without those that were not."""


@dataclass(frozen=True, slots=True)
class ListenerStats:
    """What one `Server.listen()` opened."""

    id: int
    name: str
    """As it was asked for, with the port: "localhost:50051"."""
    addresses: tuple[str, ...]
    """As `ConnectionStats.local` has them, one for each socket: "ipv4:127.0.0.1:50051"."""


@dataclass(frozen=True, slots=True)
class ServerStats:
    """One server."""

    id: int
    created: float
    calls: CallStats
    listeners: tuple[ListenerStats, ...]
    connections: tuple[int, ...]
    """The ids of its connections, ascending."""
    handshakes_failed: int = 0
    """Connections that ended before TLS was agreed on."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """How often each limit was met, by name, on all its connections so far."""


@dataclass(frozen=True, slots=True)
class SubchannelStats:
    """One subchannel: the connections to one address. A call that is tried again on a new
    connection counts there too."""

    id: int
    created: float
    target: str
    state: str
    """The name of its connectivity state: "READY"."""
    calls: CallStats
    connections: tuple[int, ...]
    """The ids of its connections, ascending."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """How often each limit was met, by name, on all its connections so far."""


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """One channel."""

    id: int
    created: float
    target: str
    state: str
    """The name of its connectivity state: "READY"."""
    calls: CallStats
    subchannels: tuple[int, ...]
    """The ids of its subchannels, ascending."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """How often each limit was met, by name, on all its connections so far."""


class Counted(Protocol[T_co]):
    """What can say its figures."""

    def stats(self) -> T_co:
        """The figures at present. Any thread."""
        ...


class Registry(Generic[T]):
    """The things of one kind that are alive in this process, by id. It does not keep them alive.

    Any thread. Ids are unique among all kinds and ascend.
    """

    _ids = itertools.count(1)

    def __init__(self) -> None:
        self._things: dict[int, weakref.ref[Any]] = {}

    def add(self, thing: Counted[T]) -> int:
        """Take it in, and return its id."""
        number = next(self._ids)
        things = self._things
        things[number] = weakref.ref(thing, lambda gone: things.pop(number, None))
        return number

    def remove(self, number: int) -> None:
        """Forget it, if it is known."""
        self._things.pop(number, None)

    def find(self, number: int) -> T | None:
        """The figures of one; None when there is none with that id."""
        reference = self._things.get(number)
        thing: Counted[T] | None = None if reference is None else reference()
        return None if thing is None else thing.stats()

    def select(self, first: int = 0, limit: int | None = None) -> list[T]:
        """The figures of those with an id of at least `first`, ascending, at most `limit`."""
        # list() of a dict is one step: other threads may add and remove.
        numbers = sorted(number for number in list(self._things) if number >= first)
        found: list[T] = []
        for number in numbers:
            if limit is not None and len(found) >= limit:
                break
            figures = self.find(number)
            if figures is not None:
                found.append(figures)
        return found


SERVERS: Registry[ServerStats] = Registry()
CHANNELS: Registry[ChannelStats] = Registry()
SUBCHANNELS: Registry[SubchannelStats] = Registry()
LISTENERS: Registry[ListenerStats] = Registry()
CONNECTIONS: Registry[ConnectionStats] = Registry()


def latest(times: Iterable[float | None]) -> float | None:
    """The last of these times; None when there is none."""
    return max((time for time in times if time is not None), default=None)
