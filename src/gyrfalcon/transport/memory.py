"""A network in memory: listening and connecting without sockets, ports and threads.

What one end writes comes to the other end's protocol when the loop turns, through a pipe with flow
control, as bytes come from a socket. `faults.py` says how the pipes may be disturbed.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import socket
from collections.abc import Callable
from itertools import count
from typing import Any

from ..policy.target import (
    Address,
    HeldAddress,
    ListenAddress,
    TcpAddress,
    UnixAddress,
    parse_listen_address,
)
from ..rpc.stats import LISTENERS, ListenerStats
from .addresses import describe_address, is_ip_address
from .clock import Clock
from .faults import Faults, Link
from .network import Network
from .pipe import join
from .relay import Relay

# Of RFC 5737: never the address of a machine.
_CLIENT_HOST = "192.0.2.254"
# Where names lead to: the private network that is least in use has room for 65,534 of them.
_NAMED_HOSTS = "172.31.{}.{}"
_EPHEMERAL = 49152
_ANY_HOST = ("", "0.0.0.0", "::")


class MemoryNetwork(Network):
    """A network that is all in memory, with addresses of its own.

    Addresses look as they do elsewhere, and mean nothing outside: each MemoryNetwork has all hosts
    and ports for itself. Both ends of a connection may belong to one loop, or to loops of different
    threads; those are joined by a pair of sockets that have no address.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self._listeners: dict[Address, MemoryListener] = {}
        self._faults: dict[Address, Faults] = {}
        self._hosts: dict[str, str] = {"localhost": "127.0.0.1"}
        self._ports = count(_EPHEMERAL)

    def faults(self, address: str) -> Faults:
        """What disturbs the connections to an address, whoever listens there."""
        return self._faults_of(self._resolve(_no_socket(parse_listen_address(address))))

    async def connect(
        self, loop: asyncio.AbstractEventLoop, protocol: Any, address: Address
    ) -> None:
        """Connect a protocol to an address. Raises ConnectionRefusedError."""
        where = self._resolve(address)
        faults = self._faults_of(where)
        listener = self._find(where)
        if listener is None or faults.refuses_connections:
            raise _refusal()
        if listener.loop is loop:
            made = loop.create_future()
            link: Link | None = None

            def accepted() -> None:
                nonlocal link
                if not made.done():
                    link = self._join(listener, where, protocol, made)

            def refused() -> None:
                if not made.done():
                    made.set_exception(_refusal())

            listener.accept(accepted, refused)
            try:
                await made
            except BaseException:
                if link is not None:
                    link.client.abort()
                raise
            return
        here, there = socket.socketpair()
        here = _Named(here, _name(where))
        try:
            listener.adopt(there, lambda relay: self._join(listener, where, relay))
            await loop.create_unix_connection(lambda: protocol, sock=here)
        except BaseException:
            here.close()
            raise

    async def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        make_protocol: Callable[[], Any],
        address: ListenAddress,
        *,
        start: bool = True,
    ) -> MemoryListener:
        """Listen on an address. Raises OSError when somebody does already, ValueError for a
        socket that is there already: it belongs to the system's network."""
        shown = _no_socket(address)
        if isinstance(shown, TcpAddress) and shown.port == 0:
            shown = TcpAddress(shown.host, next(self._ports))
        where = self._resolve(shown)
        if where in self._listeners:
            reason = os.strerror(errno.EADDRINUSE)
            raise OSError(errno.EADDRINUSE, f"cannot listen on {shown}: {reason}")
        listener = MemoryListener(
            loop, make_protocol, shown, lambda: self._listeners.pop(where, None)
        )
        if start:
            await listener.start()
        self._listeners[where] = listener
        return listener

    async def look_up(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int
    ) -> list[TcpAddress]:
        """The address of a name: each name has its own, whether or not anybody listens there."""
        return [TcpAddress(self._host(host), port)]

    # ------------------------------------------------------------------ inside

    def _join(
        self,
        listener: MemoryListener,
        address: Address,
        client: asyncio.BaseProtocol,
        made: asyncio.Future[None] | None = None,
    ) -> Link:
        """Connect a protocol of the listener's loop with one that the listener makes."""
        own = "" if isinstance(address, UnixAddress) else (_CLIENT_HOST, next(self._ports))
        ends = join(
            listener.loop,
            self.clock,
            (client, listener.make_protocol()),
            (own, _name(address)),
            (contextvars.copy_context(), listener.context),
            made,
        )
        link = Link(*ends)
        self._faults_of(address)._add(link, listener.loop)
        return link

    def _find(self, address: Address) -> MemoryListener | None:
        found = self._listeners.get(address)
        if found is None and isinstance(address, TcpAddress):
            everywhere = (TcpAddress(host, address.port) for host in _ANY_HOST)
            found = next(filter(None, map(self._listeners.get, everywhere)), None)
        return found

    def _faults_of(self, address: Address) -> Faults:
        faults = self._faults.get(address)
        if faults is None:
            faults = self._faults[address] = Faults(self.clock)
        return faults

    def _resolve(self, address: Address) -> Address:
        if isinstance(address, UnixAddress):
            return address
        return TcpAddress(self._host(address.host), address.port)

    def _host(self, name: str) -> str:
        """The IP address of a host."""
        if name in _ANY_HOST or is_ip_address(name):
            return name
        number = len(self._hosts)
        return self._hosts.setdefault(name, _NAMED_HOSTS.format(number >> 8 & 255, number & 255))

    def __repr__(self) -> str:
        addresses = ", ".join(listener.address for listener in self._listeners.values())
        return f"<MemoryNetwork, listening: {addresses or 'nobody'}>"


def _no_socket(address: ListenAddress) -> Address:
    if isinstance(address, HeldAddress):
        raise ValueError(f"address {str(address)!r} is a socket, and this network has none")
    return address


def _name(address: Address) -> Any:
    """An address as `socket.getpeername()` gives it."""
    if isinstance(address, UnixAddress):
        return address.socket_name
    zone = (0, 0) if ":" in address.host else ()
    return (address.host, address.port, *zone)


def _refusal() -> ConnectionRefusedError:
    return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


class _Named(socket.socket):
    """A socket of a pair, which has no addresses, as if it were connected to one."""

    def __init__(self, connected: socket.socket, name: Any) -> None:
        super().__init__(fileno=connected.detach())
        self._name = name

    def getpeername(self) -> Any:
        return self._name


class MemoryListener:
    """One address that is listened on."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_protocol: Callable[[], Any],
        address: Address,
        closed: Callable[[], object],
    ) -> None:
        self.loop = loop
        self.make_protocol = make_protocol
        self.address = str(address)
        self.port = address.port if isinstance(address, TcpAddress) else 0
        self.context = contextvars.copy_context()
        self.id = LISTENERS.add(self)
        self._bound = describe_address(_name(address))
        self._closed = closed
        self._started = False
        # What connects them and what refuses them.
        self._waiting: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self._adopting: set[asyncio.Task[Any]] = set()

    def stats(self) -> ListenerStats:
        """Its id and its address. Any thread."""
        return ListenerStats(self.id, self.address, (self._bound,))

    async def start(self) -> None:
        """Accept connections; no effect when it does."""
        self._started = True
        waiting, self._waiting = self._waiting, []
        for connect, _ in waiting:
            connect()

    def accept(self, connect: Callable[[], object], refuse: Callable[[], object]) -> None:
        """Connect, once it was started; refuse when it is closed before (loop of the listener)."""
        if self._started:
            connect()
        else:
            self._waiting.append((connect, refuse))

    def adopt(self, connected: socket.socket, join_to: Callable[[Relay], object]) -> None:
        """Take a connection from a loop of another thread: relay what comes (any thread)."""

        def begin() -> None:
            outside, inside = Relay.pair()
            connected.setblocking(False)
            task = self.loop.create_task(_accept(self.loop, connected, outside))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)
            join_to(inside)

        try:
            self.loop.call_soon_threadsafe(self.accept, begin, connected.close)
        except RuntimeError:
            # The loop of a server that was never stopped is closed.
            connected.close()
            raise _refusal() from None

    def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        LISTENERS.remove(self.id)
        self._closed()
        waiting, self._waiting = self._waiting, []
        for _, refuse in waiting:
            refuse()


async def _accept(
    loop: asyncio.AbstractEventLoop, connected: socket.socket, protocol: asyncio.BaseProtocol
) -> None:
    try:
        await loop.connect_accepted_socket(lambda: protocol, connected)
    except BaseException:
        connected.close()
        raise
