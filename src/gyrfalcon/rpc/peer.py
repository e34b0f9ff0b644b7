"""Who is at the other end of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Self


class Peer(str):
    """The other end of a connection: its address, and who it has proved to be.

    It is the address, "ipv4:127.0.0.1:50051", and compares, hashes and prints as that. Attributes:
    - `auth_type`: "tls" for an encrypted connection, "insecure" for one in plaintext;
    - `certificate`: the verified certificate of the other end, in the form of
      `ssl.SSLSocket.getpeercert()`; None when there is none;
    - `identities`: the names that the certificate is good for: its subject alternative names
      (URI, DNS, email, IP address) in their order, or the common name where it has none of these.

    It is made once a connection and never changes. Any thread.
    """

    __slots__ = ("auth_type", "certificate", "identities")

    auth_type: str
    certificate: Mapping[str, Any] | None
    identities: tuple[str, ...]

    def __new__(
        cls,
        address: str,
        *,
        auth_type: str = "insecure",
        certificate: Mapping[str, Any] | None = None,
    ) -> Self:
        peer = super().__new__(cls, address)
        peer.auth_type = auth_type
        peer.certificate = MappingProxyType(dict(certificate)) if certificate else None
        peer.identities = list_identities(certificate) if certificate else ()
        return peer

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        certificate = None if self.certificate is None else dict(self.certificate)
        return (str(self),), {"auth_type": self.auth_type, "certificate": certificate}

    def __getstate__(self) -> None:
        return None


def list_identities(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a certificate, as `ssl` describes it, is good for."""
    names = tuple(
        # OpenSSL writes IPv6 addresses at full length.
        str(ip_address(value)) if kind == "IP Address" else str(value)
        for kind, value in certificate.get("subjectAltName", ())
        if kind in ("URI", "DNS", "email", "IP Address")
    )
    if names:
        return names
    return tuple(
        str(value)
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    )
