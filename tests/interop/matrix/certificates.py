"""Certificates for a run: its own, or those that grpc-java's programs have built in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.interop import flags

SERVER_NAME = "foo.test.google.fr"
"""What the certificates are good for, as those of gRPC's test programs are."""


@dataclass(frozen=True)
class Certificates:
    """PEM files."""

    ca: Path
    certificate: Path
    key: Path


def make(folder: Path) -> Certificates:
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    ca = trustme.CA()
    server = ca.issue_cert("*.test.google.fr")
    ca.cert_pem.write_to_path(made.ca)
    server.private_key_pem.write_to_path(made.key)
    made.certificate.unlink(missing_ok=True)
    for pem in server.cert_chain_pems:
        pem.write_to_path(made.certificate, append=True)
    return made


def published() -> Certificates:
    folder = flags.TEST_CA
    return Certificates(folder / "ca.pem", folder / "server1.pem", folder / "server1.key")
