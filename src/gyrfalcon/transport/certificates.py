"""What TLS is set up with: certificates, keys and trust, from files that are watched.

The files are looked at when a handshake begins, at most once a second: what is new in them holds
for the handshakes from then on, and the connections that are there go on with what they have.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

from ..rpc.quoting import quote

log = logging.getLogger("gyrfalcon.transport")

Pem: TypeAlias = str | os.PathLike[str] | bytes
"""The path of a PEM file, or what stands in one."""
Password: TypeAlias = str | bytes | Callable[[], str | bytes]

# Seconds between two looks at the files.
_LOOK_INTERVAL_S = 1.0
# RFC 9113 9.2.2: what HTTP/2 may use with TLS 1.2 are ephemeral keys and authenticated encryption.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
_PEM_BEGIN = "-----BEGIN "
_CERTIFICATE_BEGIN = b"-----BEGIN CERTIFICATE-----"
_CERTIFICATE_END = b"-----END CERTIFICATE-----"
ALPN = "h2"
"""The protocol that both ends have to agree on."""

Signature: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]


class TlsSettings(Protocol):
    """What the TLS layer asks for each handshake."""

    server_name: str | None
    """Client: what the server's certificate has to be good for, instead of the target's host."""
    local_certificate: bytes
    """The certificate of this end, DER; empty where there is none or it is not known."""

    def context(self, now: float) -> ssl.SSLContext:
        """The context for a handshake that begins `now`, in seconds of any monotonic clock."""
        ...


class _Source:
    """One argument: a path, or PEM as it is."""

    def __init__(self, owner: str, name: str, value: Pem) -> None:
        self.name = f"{owner}({name}=...)"
        self.path: str | None = None
        self._data = b""
        if isinstance(value, bytes):
            self._data = value
        elif isinstance(value, str) and value.lstrip().startswith(_PEM_BEGIN):
            self._data = value.encode()
        elif isinstance(value, str | os.PathLike):
            self.path = os.fspath(value)
            self.name = f"{owner}({name}={self.path!r})"
        else:
            raise TypeError(
                f"{owner}({name}={value!r}): give the path of a PEM file, or PEM as bytes"
            )

    def read(self) -> bytes:
        """The PEM. Raises OSError that names the file."""
        if self.path is None:
            return self._data
        with open(self.path, "rb") as file:
            return file.read()

    def sign(self) -> tuple[int, int, int, int] | None:
        """What changes with the file; None for what is no file, or not there."""
        if self.path is None:
            return None
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    @contextlib.contextmanager
    def as_file(self) -> Iterator[str]:
        """A path to read it from, which is all that `ssl` takes for keys."""
        if self.path is not None:
            yield self.path
        elif hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("gyrfalcon-pem")
            try:
                os.write(descriptor, self._data)
                yield f"/proc/self/fd/{descriptor}"
            finally:
                os.close(descriptor)
        else:
            with tempfile.NamedTemporaryFile() as file:
                file.write(self._data)
                file.flush()
                yield file.name


class _Watched:
    """Settings that come from files: loaded at once, and again when a file has changed."""

    def __init__(self, sources: list[_Source]) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._refused = ""
        self.local_certificate = b""
        self._signature = self._sign()
        self._context = self._load()

    def context(self, now: float) -> ssl.SSLContext:
        """The context for a handshake that begins `now`. Any thread."""
        # Networks have clocks of their own: one that is behind is none to wait for.
        if abs(now - self._looked_at) >= _LOOK_INTERVAL_S:
            with self._lock:
                self._look(now)
        return self._context

    def reload(self) -> None:
        """Read the files again now, for the handshakes that follow. Any thread.

        Raises OSError or ValueError that names what is wrong; what was loaded before stays.
        """
        with self._lock:
            signature = self._sign()
            self._context = self._load()
            self._signature = signature
            self._refused = ""

    def _sign(self) -> Signature:
        return tuple(source.sign() for source in self._sources)

    def _look(self, now: float) -> None:
        self._looked_at = now
        signature = self._sign()
        if signature == self._signature:
            return
        try:
            self._context = self._load()
        except (OSError, ValueError) as error:
            # Looked at again with the next handshake: the other file of a pair may be on its way.
            reason = quote(str(error))
            if reason != self._refused:
                self._refused = reason
                log.warning("new TLS files are not used, the old stay in use: %s", reason)
            return
        self._signature = signature
        self._refused = ""
        names = ", ".join(source.path for source in self._sources if source.path is not None)
        log.info("TLS files were reloaded: %s", names)

    def _load(self) -> ssl.SSLContext:
        raise NotImplementedError


class ServerTLS(_Watched):
    """The certificate of a server and its key, and the clients that it trusts.

    - `cert`: the certificate, with the intermediate ones after it: the path of a PEM file, or PEM
      as bytes; `key`: its private key, likewise; `key_password` for a key that is encrypted;
    - `client_ca`: certificates of the authorities that clients' certificates come from. A client
      may then show one, and one that does not hold is refused; `require_client`: it has to.

    TLS 1.2 and 1.3. Files are watched: a handshake uses what they hold then, connections that are
    there go on. One object may be given to several servers. Any thread. Raises OSError for a file
    that cannot be read, ValueError for what makes no sense in it.
    """

    def __init__(
        self,
        cert: Pem,
        key: Pem,
        client_ca: Pem | None = None,
        require_client: bool = False,
        *,
        key_password: Password | None = None,
    ) -> None:
        if require_client and client_ca is None:
            raise ValueError(
                "ServerTLS(require_client=True) needs client_ca: whose certificates are trusted"
            )
        self._cert = _Source("ServerTLS", "cert", cert)
        self._key = _Source("ServerTLS", "key", key)
        self._client_ca = (
            None if client_ca is None else _Source("ServerTLS", "client_ca", client_ca)
        )
        self._require_client = require_client
        self._password = key_password
        self.server_name: str | None = None
        sources = [self._cert, self._key]
        super().__init__(sources if self._client_ca is None else [*sources, self._client_ca])

    def _load(self) -> ssl.SSLContext:
        context = _make_context(ssl.PROTOCOL_TLS_SERVER)
        certificate = _load_pair(context, self._cert, self._key, self._password)
        if self._client_ca is not None:
            _load_trust(context, self._client_ca)
            required = self._require_client
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        self.local_certificate = certificate
        return context

    def __repr__(self) -> str:
        return f"<{self._cert.name}>"


class ClientTLS(_Watched):
    """Whom a client trusts, and what it proves itself with.

    - `ca`: certificates of the authorities that are trusted: the path of a PEM file or PEM as bytes
      (None: the system's);
    - `cert`, `key`: the client's own certificate and key, where the server asks for one;
      `key_password` for a key that is encrypted;
    - `server_name`: what the server's certificate has to be good for, and the `:authority` of the
      calls, instead of the target's host;
    - `verify=False` takes any certificate of any server: for trying things out alone.

    TLS 1.2 and 1.3. Files are watched, as those of ServerTLS. Any thread. Raises OSError for a file
    that cannot be read, ValueError for what makes no sense in it.
    """

    def __init__(
        self,
        ca: Pem | None = None,
        cert: Pem | None = None,
        key: Pem | None = None,
        server_name: str | None = None,
        *,
        key_password: Password | None = None,
        verify: bool = True,
    ) -> None:
        if (cert is None) != (key is None):
            given, missing = ("cert", "key") if key is None else ("key", "cert")
            raise ValueError(f"ClientTLS({given}=...) needs {missing} too: they belong together")
        if ca is not None and not verify:
            raise ValueError("ClientTLS(verify=False) verifies nothing: leave ca out")
        self._ca = None if ca is None else _Source("ClientTLS", "ca", ca)
        self._cert = None if cert is None else _Source("ClientTLS", "cert", cert)
        self._key = None if key is None else _Source("ClientTLS", "key", key)
        self._password = key_password
        self._verify = verify
        self.server_name = None if server_name is None else check_server_name(server_name)
        super().__init__([one for one in (self._ca, self._cert, self._key) if one is not None])

    def _load(self) -> ssl.SSLContext:
        context = _make_context(ssl.PROTOCOL_TLS_CLIENT)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _load_trust(context, self._ca)
        if self._cert is not None and self._key is not None:
            self.local_certificate = _load_pair(context, self._cert, self._key, self._password)
        return context

    def __repr__(self) -> str:
        trust = "the system's authorities" if self._ca is None else self._ca.name
        return f"<ClientTLS, {trust if self._verify else 'nothing is verified'}>"


class _Given:
    """An SSLContext of the program's own."""

    def __init__(self, context: ssl.SSLContext) -> None:
        prepare_context(context)
        self._context = context
        self.server_name: str | None = None
        self.local_certificate = b""

    def context(self, now: float) -> ssl.SSLContext:
        return self._context


def choose_server_settings(tls: ServerTLS | ssl.SSLContext | None) -> TlsSettings | None:
    """The settings that `tls=` of a server stands for. Raises TypeError, ValueError."""
    if tls is None or isinstance(tls, ServerTLS):
        return tls
    if isinstance(tls, ssl.SSLContext):
        if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError("tls=: this SSLContext is a client's; a server needs a server's")
        return _Given(tls)
    raise TypeError(f"tls={tls!r}: a server takes gyrfalcon.ServerTLS or an ssl.SSLContext")


def choose_client_settings(tls: ClientTLS | ssl.SSLContext | bool | None) -> TlsSettings | None:
    """The settings that `tls=` of a channel stands for. Raises TypeError, ValueError."""
    if tls is None or tls is False:
        return None
    if tls is True:
        return ClientTLS()
    if isinstance(tls, ClientTLS):
        return tls
    if isinstance(tls, ssl.SSLContext):
        if tls.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise ValueError("tls=: this SSLContext is a server's; a channel needs a client's")
        return _Given(tls)
    raise TypeError(
        f"tls={tls!r}: a channel takes gyrfalcon.ClientTLS, an ssl.SSLContext, True or None"
    )


def check_server_name(name: str) -> str:
    """A name that certificates can be good for, or ValueError."""
    try:
        name.encode("idna")
    except UnicodeError:
        raise ValueError(f"server_name={name!r} is no host name that TLS can verify") from None
    if not name or name.startswith("."):
        raise ValueError(f"server_name={name!r} is no host name that TLS can verify")
    return name


def prepare_context(context: ssl.SSLContext) -> None:
    """What HTTP/2 asks of every context (RFC 9113 9.2)."""
    context.set_alpn_protocols([ALPN])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _make_context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # A certificate that is trusted by name is trusted, whoever has signed it.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    prepare_context(context)
    return context


def _load_pair(
    context: ssl.SSLContext, cert: _Source, key: _Source, password: Password | None
) -> bytes:
    """Load a certificate and its key; the certificate, DER."""

    def refuse() -> str:
        raise ValueError(f"{key.name}: the key is encrypted: give key_password")

    chain = cert.read()
    private = key.read()
    if not private.strip():
        raise ValueError(f"{key.name} is empty")
    first, last = chain.find(_CERTIFICATE_BEGIN), chain.find(_CERTIFICATE_END)
    if not 0 <= first < last:
        raise ValueError(f"{cert.name} has no certificate in it: PEM is expected")
    try:
        with cert.as_file() as certfile, key.as_file() as keyfile:
            context.load_cert_chain(certfile, keyfile, refuse if password is None else password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key.name} is not the key of {cert.name}") from error
        reason = error.reason or "it is no PEM of a certificate and its key"
        raise ValueError(f"{cert.name} with {key.name} cannot be used: {reason}") from error
    block = chain[first : last + len(_CERTIFICATE_END)]
    return ssl.PEM_cert_to_DER_cert(block.decode("ascii", "replace"))


def _load_trust(context: ssl.SSLContext, source: _Source) -> None:
    if source.path is not None and os.path.isdir(source.path):
        context.load_verify_locations(capath=source.path)
        return
    data = source.read()
    if _CERTIFICATE_BEGIN not in data:
        raise ValueError(f"{source.name} has no certificate in it: PEM is expected")
    try:
        with source.as_file() as path:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"{source.name} cannot be used: {error.reason or error}") from error
