"""The network that channels and servers use: connections, names, and the time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

from ..policy.target import Address, ListenAddress, TcpAddress
from ..rpc.stats import ListenerStats
from .clock import SYSTEM_CLOCK, Clock
from .connector import connect
from .listener import open_listener


class Listening(Protocol):
    """An address that is listened on."""

    @property
    def address(self) -> str:
        """The address, as it is shown."""
        ...

    @property
    def port(self) -> int:
        """Its port; 0 for what has none."""
        ...

    async def start(self) -> None:
        """Accept connections; no effect when it does."""
        ...

    def stats(self) -> ListenerStats:
        """Its figures. Any thread."""
        ...

    def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        ...


class Network:
    """How channels and servers reach each other, and what tells them the time.

    This one is the system's: sockets, the system's names, `clock` (None: the system's). Derive from
    it to connect in a way of your own. A network may be shared by channels and servers; each of its
    methods is called in the loop that is given.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.clock: Clock = SYSTEM_CLOCK if clock is None else clock
        """What tells the time to those that use this network."""

    async def connect(
        self, loop: asyncio.AbstractEventLoop, protocol: Any, address: Address
    ) -> None:
        """Connect an `asyncio.BufferedProtocol` to an address: its `connection_made` is called.

        Raises OSError.
        """
        await connect(loop, protocol, address)

    async def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        make_protocol: Callable[[], Any],
        address: ListenAddress,
        *,
        start: bool = True,
    ) -> Listening:
        """Listen on an address: each connection gets an `asyncio.BufferedProtocol` of its own.

        Without `start` the address is taken, and connections wait until that is asked for. Raises
        OSError that names the address.
        """
        return await open_listener(loop, make_protocol, address, start=start)

    async def look_up(
        self, loop: asyncio.AbstractEventLoop, host: str, port: int
    ) -> list[TcpAddress]:
        """The addresses that a host name stands for. Raises OSError."""
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [TcpAddress(str(name[0]), int(name[1])) for *_, name in found]


SYSTEM_NETWORK = Network()
"""The network of channels and servers that are given no other."""
