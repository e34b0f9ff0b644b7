"""Connecting to one address."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ..policy.target import Address, UnixAddress


async def connect(loop: asyncio.AbstractEventLoop, protocol: Any, address: Address) -> None:
    """Connect `protocol` to an address whose host is an IP address, or to a unix socket.

    Raises OSError.
    """
    if isinstance(address, UnixAddress) and address.abstract:
        # uvloop takes no abstract names, but sockets that are connected to them.
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.setblocking(False)
            await loop.sock_connect(connected, address.socket_name)
            await loop.create_unix_connection(lambda: protocol, sock=connected)
        except BaseException:
            connected.close()
            raise
    elif isinstance(address, UnixAddress):
        await loop.create_unix_connection(lambda: protocol, address.socket_name)
    else:
        await loop.create_connection(lambda: protocol, address.host, address.port)
