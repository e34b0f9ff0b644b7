"""Listening sockets of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..policy.target import HeldAddress, ListenAddress, TcpAddress, UnixAddress
from ..rpc.stats import LISTENERS, ListenerStats
from .addresses import describe_address

# Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
_BACKLOG = 4096
# Connections that asyncio accepts in one turn of the loop. Before it makes transports of them, or
# closes those that a server has no room for, some turns pass; each holds a descriptor meanwhile,
# and the calls of other connections wait.
_ACCEPTS = 8


class Listener:
    """One address that is listened on."""

    def __init__(
        self, servers: list[asyncio.Server], address: str, port: int, path: str | None
    ) -> None:
        self._servers = servers
        self.address = address
        self.port = port
        self._path = path
        self._inode = inode_of(path)
        self._bound = tuple(
            describe_address(bound.getsockname()) for server in servers for bound in server.sockets
        )
        self.id = LISTENERS.add(self)

    async def start(self) -> None:
        """Accept connections; no effect when it does."""
        for server in self._servers:
            await server.start_serving()
            _lengthen_queue(server)

    def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        LISTENERS.remove(self.id)
        for server in self._servers:
            _close(server)
        remove_socket(self._path, self._inode)

    def stats(self) -> ListenerStats:
        """Its id and its addresses. Any thread."""
        return ListenerStats(self.id, self.address, self._bound)


def _close(server: asyncio.Server) -> None:
    """Close without losing what was accepted in this turn of the loop."""
    # asyncio's own loops make the transport of a connection a turn after they accepted it, and drop
    # it when the server is closed by then; uvloop has no reader here, and makes it at once.
    loop = server.get_loop()
    paused = [loop.remove_reader(bound.fileno()) for bound in server.sockets]
    if any(paused):
        loop.call_soon(server.close)
    else:
        server.close()


async def open_listener(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], Any],
    address: ListenAddress,
    *,
    start: bool = True,
) -> Listener:
    """Listen on an address: on each interface address that a host name stands for, at one port.

    Without `start` the address is taken, and connections wait until the listener starts. Raises
    OSError that names the address.
    """
    with naming(address):
        path = None
        if isinstance(address, HeldAddress):
            sockets = adopt(address.descriptors)
        elif isinstance(address, UnixAddress):
            sockets = [bind_unix(address)]
            path = None if address.abstract else address.path
        else:
            sockets = bind_tcp(address.port, await _look_up(loop, address))
        servers: list[asyncio.Server] = []
        try:
            for bound in sockets:
                bound.setblocking(False)
                if not start:
                    # A bound address is the program's own only from here on, as far as
                    # SO_REUSEADDR goes.
                    bound.listen(_BACKLOG)
                servers.append(await _make_server(loop, make_protocol, bound, start))
                if start:
                    _lengthen_queue(servers[-1])
        except BaseException:
            for opened in servers:
                opened.close()
            for bound in sockets[len(servers) :]:
                bound.close()
            raise
    shown, port = describe_bound(address, sockets)
    return Listener(servers, shown, port, path)


def _lengthen_queue(server: asyncio.Server) -> None:
    """Let more connections wait to be accepted than are accepted at once: asyncio has one number
    for both."""
    for bound in server.sockets:
        with socket.socket(fileno=os.dup(bound.fileno())) as listening:
            listening.listen(_BACKLOG)


async def _make_server(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], Any],
    bound: socket.socket,
    start: bool,
) -> asyncio.Server:
    if bound.family != socket.AF_UNIX:
        return await loop.create_server(
            make_protocol, sock=bound, backlog=_ACCEPTS, start_serving=start
        )
    # Whose file it is removes it: the listener that made it, and not one that was handed it.
    keeping: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await loop.create_unix_server(
        make_protocol, sock=bound, backlog=_ACCEPTS, start_serving=start, **keeping
    )


@contextlib.contextmanager
def naming(address: ListenAddress) -> Iterator[None]:
    """Has errors say which address it was."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}") from error


def bind_unix(address: UnixAddress) -> socket.socket:
    """A socket that has that address. Raises OSError."""
    if not address.abstract:
        _remove_dead_socket(address.path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(address.socket_name)
    except BaseException:
        bound.close()
        raise
    return bound


def bind_tcp(port: int, found: Sequence[Any], *, shared: bool = False) -> list[socket.socket]:
    """Sockets with the addresses that getaddrinfo found, all at one port.

    `shared`: other sockets may have the same address and listen too (SO_REUSEPORT). Raises OSError.
    """
    # "::" takes IPv4 too; binding 0.0.0.0 beside it would fail.
    wildcard = [entry for entry in found if entry[4][0] == "::"]
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, name in dict.fromkeys(wildcard or found):
            bound = socket.socket(family, kind, protocol)
            sockets.append(bound)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                only = int(name[0] != "::")
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            bound.bind((name[0], port, *name[2:]))
            # One port for all addresses of a name, also where it was chosen by the system.
            port = bound.getsockname()[1]
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def describe_bound(address: ListenAddress, sockets: Sequence[socket.socket]) -> tuple[str, int]:
    """An address as it is shown when its sockets are bound, and its port (0 where it has none)."""
    name = sockets[0].getsockname()
    if not isinstance(name, tuple):
        return str(address), 0
    port = int(name[1])
    if isinstance(address, TcpAddress):
        return str(TcpAddress(address.host, port)), port
    known = str(address) if not str(address).startswith("fd:") else str(TcpAddress(name[0], port))
    return known, port


def adopt(descriptors: Sequence[int]) -> list[socket.socket]:
    """The sockets with these descriptors, which belong to them from now on."""
    sockets: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            adopted = socket.socket(fileno=descriptor)
            if adopted.type != socket.SOCK_STREAM:
                adopted.detach()
                raise OSError(errno.EINVAL, "it is no stream socket")
            sockets.append(adopted)
    except BaseException:
        for adopted in sockets:
            adopted.detach()
        raise
    for adopted in sockets:
        # Not for the programs that this process starts.
        adopted.set_inheritable(False)
    return sockets


async def _look_up(loop: asyncio.AbstractEventLoop, address: TcpAddress) -> list[Any]:
    host = address.host or None
    try:
        return look_up_literal(address)
    except socket.gaierror:
        return await loop.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )


def look_up_literal(address: TcpAddress) -> list[Any]:
    """What getaddrinfo says of an IP address, at once. Raises socket.gaierror for a name."""
    # The loop would ask in a thread.
    literal = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    host = address.host or None
    return list(socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=literal))


def inode_of(path: str | None) -> int | None:
    """The number of that file; None when there is none."""
    try:
        return None if path is None else os.stat(path).st_ino
    except OSError:
        return None


def remove_socket(path: str | None, inode: int | None) -> None:
    """Remove a socket's file, unless another has taken its place."""
    if path is not None and inode is not None and inode_of(path) == inode:
        os.unlink(path)


def _remove_dead_socket(path: str) -> None:
    """Remove a socket file that nobody listens on any more; one that is in use stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return
