"""Addresses that one process binds and others listen on."""

from __future__ import annotations

import socket
import sys
from typing import Any

from ..policy.target import HeldAddress, ListenAddress, UnixAddress
from .listener import (
    adopt,
    bind_tcp,
    bind_unix,
    describe_bound,
    inode_of,
    look_up_literal,
    naming,
    remove_socket,
)

# Elsewhere the option lets sockets share an address too, but one of them gets all connections.
_BALANCED = sys.platform == "linux"


class HeldSockets:
    """The sockets of one address, for workers that are numbered from 1.

    Where the system spreads the connections to an address over the sockets that listen on it (TCP
    on Linux, SO_REUSEPORT), each worker has sockets of its own. Elsewhere, and for unix sockets and
    those that were handed to this process, all have the same. They stay open here, so that
    connections that wait in one are still there for the next worker of that number.

    Nothing listens until a worker does. Raises OSError that names the address.
    """

    def __init__(self, address: ListenAddress) -> None:
        self._path: str | None = None
        self._found: list[Any] = []
        self._shares: dict[int, list[socket.socket]] = {}
        with naming(address):
            if isinstance(address, HeldAddress):
                self._sockets = adopt(address.descriptors)
            elif isinstance(address, UnixAddress):
                self._sockets = [bind_unix(address)]
                self._path = None if address.abstract else address.path
            else:
                try:
                    found = look_up_literal(address)
                except socket.gaierror:
                    found = socket.getaddrinfo(
                        address.host,
                        address.port,
                        type=socket.SOCK_STREAM,
                        flags=socket.AI_PASSIVE,
                    )
                # Without SO_REUSEPORT: so an address that somebody listens on cannot be had, not
                # even when he would share it.
                self._sockets = bind_tcp(address.port, found)
                self._found = found if _BALANCED else []
        self._inode = inode_of(self._path)
        self.address, self.port = describe_bound(address, self._sockets)

    @property
    def shared(self) -> bool:
        """Whether all workers listen on the same sockets."""
        return not self._found

    def share(self, worker: int) -> HeldAddress:
        """What that worker listens on. Raises OSError."""
        return HeldAddress(
            tuple(bound.fileno() for bound in self._share(worker)),
            self.address,
        )

    def _share(self, worker: int) -> list[socket.socket]:
        if self.shared:
            return self._sockets
        if worker not in self._shares:
            self._shares[worker] = bind_tcp(self.port, self._found, shared=True)
        return self._shares[worker]

    def withdraw(self, worker: int) -> None:
        """Close what is that worker's alone: connections that wait there are reset, and new ones
        come to other workers."""
        for bound in self._shares.pop(worker, ()):
            bound.close()

    def leave_to(self, worker: int) -> None:
        """In a forked process: keep that worker's sockets, which are its own now."""
        kept = self._share(worker)
        for bound in (*self._sockets, *(one for share in self._shares.values() for one in share)):
            if bound in kept:
                bound.detach()
            else:
                bound.close()

    def close(self) -> None:
        """Give the address up, as far as this process goes."""
        for worker in list(self._shares):
            self.withdraw(worker)
        for bound in self._sockets:
            bound.close()
        remove_socket(self._path, self._inode)
        self._path = None
