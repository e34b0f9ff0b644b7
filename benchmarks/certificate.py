"""The certificate of servers that are measured with TLS: an ECDSA key, as most have today."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def made() -> Iterator[tuple[str, ...]]:
    """The options that name the files of a new certificate and its key, while these exist."""
    import trustme

    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        cert, key = Path(folder, "server.pem"), Path(folder, "server.key")
        cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        yield "--cert", str(cert), "--key", str(key)
