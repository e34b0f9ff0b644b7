"""Addresses as gRPC writes them."""

from __future__ import annotations

import ipaddress
from typing import Any

from ..rpc.peer import Peer


def describe_address(name: Any) -> str:
    """A socket's address, as `socket.getpeername()` gives it, in gRPC's way:
    "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:PATH", "unix-abstract:NAME";
    "unknown" for what is none of these."""
    if isinstance(name, tuple) and len(name) == 2:
        return f"ipv4:{name[0]}:{name[1]}"
    if isinstance(name, tuple) and len(name) == 4:
        return f"ipv6:[{name[0]}]:{name[1]}"
    if isinstance(name, bytes):
        return f"unix-abstract:{name[1:].decode(errors='backslashreplace')}"
    if isinstance(name, str):
        return f"unix:{name}"
    return "unknown"


def describe_peer(transport: Any) -> Peer:
    """Who is at the other end of an asyncio transport."""
    return Peer(
        describe_address(transport.get_extra_info("peername")),
        auth_type="insecure" if transport.get_extra_info("ssl_object") is None else "tls",
        certificate=transport.get_extra_info("peercert"),
    )


def is_ip_address(host: str) -> bool:
    """Whether a host is an IP address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
