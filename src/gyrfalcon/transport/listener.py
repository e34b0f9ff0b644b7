"""Listening sockets of an event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from typing import Any

from ..policy.target import Address, TcpAddress, UnixAddress
from ..rpc.stats import LISTENERS, ListenerStats
from .addresses import describe_address

# Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
_BACKLOG = 4096


class Listener:
    """One address that is listened on."""

    def __init__(
        self, servers: list[asyncio.Server], address: str, port: int, path: str | None
    ) -> None:
        self._servers = servers
        self.address = address
        self.port = port
        self._path = path
        self._inode = _inode(path)
        self._bound = tuple(
            describe_address(bound.getsockname()) for server in servers for bound in server.sockets
        )
        self.id = LISTENERS.add(self)

    async def start(self) -> None:
        """Accept connections; no effect when it does."""
        for server in self._servers:
            await server.start_serving()

    def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        LISTENERS.remove(self.id)
        for server in self._servers:
            server.close()
        if self._path is not None and self._inode is not None and _inode(self._path) == self._inode:
            os.unlink(self._path)

    def stats(self) -> ListenerStats:
        """Its id and its addresses. Any thread."""
        return ListenerStats(self.id, self.address, self._bound)


async def open_listener(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], Any],
    address: Address,
    *,
    start: bool = True,
) -> Listener:
    """Listen on an address: on each interface address that a host name stands for, at one port.

    Without `start` the address is taken, and connections wait until the listener starts. Raises
    OSError that names the address.
    """
    try:
        if isinstance(address, UnixAddress):
            return await _listen_unix(loop, make_protocol, address, start)
        return await _listen_tcp(loop, make_protocol, address, start)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot listen on {address}: {reason}") from error


async def _listen_unix(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], Any],
    address: UnixAddress,
    start: bool,
) -> Listener:
    if not address.abstract:
        _remove_dead_socket(address.path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(address.socket_name)
        bound.setblocking(False)
        if not start:
            bound.listen(_BACKLOG)
        server = await loop.create_unix_server(
            make_protocol, sock=bound, backlog=_BACKLOG, start_serving=start
        )
    except BaseException:
        bound.close()
        raise
    return Listener([server], str(address), 0, None if address.abstract else address.path)


async def _listen_tcp(
    loop: asyncio.AbstractEventLoop,
    make_protocol: Callable[[], Any],
    address: TcpAddress,
    start: bool,
) -> Listener:
    found = await _look_up(loop, address)
    # "::" takes IPv4 too; binding 0.0.0.0 beside it would fail.
    wildcard = [entry for entry in found if entry[4][0] == "::"]
    port = address.port
    servers: list[asyncio.Server] = []
    try:
        for family, kind, protocol, _, name in dict.fromkeys(wildcard or found):
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    only = int(name[0] != "::")
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                bound.bind((name[0], port, *name[2:]))
                bound.setblocking(False)
                # One port for all addresses of a name, also where it was chosen by the system.
                port = bound.getsockname()[1]
                if not start:
                    # A bound address is the program's own only from here on, as far as
                    # SO_REUSEADDR goes.
                    bound.listen(_BACKLOG)
                server = await loop.create_server(
                    make_protocol, sock=bound, backlog=_BACKLOG, start_serving=start
                )
            except BaseException:
                bound.close()
                raise
            servers.append(server)
    except BaseException:
        for opened in servers:
            opened.close()
        raise
    return Listener(servers, str(TcpAddress(address.host, port)), port, None)


async def _look_up(loop: asyncio.AbstractEventLoop, address: TcpAddress) -> list[Any]:
    host = address.host or None
    try:
        # A literal address is known at once; the loop would ask in a thread.
        literal = socket.AI_PASSIVE | socket.AI_NUMERICHOST
        return list(socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=literal))
    except socket.gaierror:
        return await loop.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )


def _inode(path: str | None) -> int | None:
    try:
        return None if path is None else os.stat(path).st_ino
    except OSError:
        return None


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
