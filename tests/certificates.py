"""Certificates for the tests: an authority, a server's and a client's, in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme

import gyrfalcon as gyr

# What the memory network and the loopback call themselves.
SERVER_NAMES = ("localhost", "127.0.0.1", "::1", "192.0.2.1")
CLIENT_NAME = "orders.example"


class Certificates:
    """Files in a folder: `ca.pem`, `server.pem` and `.key`, `client.pem` and `.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA(organization_name="Gyrfalcon tests")
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.server_cert, self.server_key = self.issue("server", *SERVER_NAMES)
        self.client_cert, self.client_key = self.issue("client", CLIENT_NAME)

    def issue(self, name: str, *names: str, **options: Any) -> tuple[Path, Path]:
        """The files of a new certificate and its key, over those of the same name."""
        issued = self.authority.issue_cert(*names, **options)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return cert, key

    def server_tls(self, **options: Any) -> gyr.ServerTLS:
        """TLS of a server; with `client_ca=True` for clients of this authority."""
        if options.get("client_ca") is True:
            options["client_ca"] = self.ca
        return gyr.ServerTLS(self.server_cert, self.server_key, **options)

    def client_tls(self, **options: Any) -> gyr.ClientTLS:
        """TLS of a client that trusts this authority."""
        return gyr.ClientTLS(self.ca, **options)

    def mutual_tls(self, **options: Any) -> gyr.ClientTLS:
        """TLS of a client that proves itself as well."""
        return gyr.ClientTLS(self.ca, self.client_cert, self.client_key, **options)
