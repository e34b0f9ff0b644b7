"""Channel targets and listen addresses: text into typed values (gRPC `naming`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

DEFAULT_PORT: Final = 443
"""The port of a target that names none, with and without TLS (gRPC `naming`)."""

_SCHEMES: Final = ("dns", "ipv4", "ipv6", "unix", "unix-abstract")
_HOST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")


class TcpAddress(NamedTuple):
    """A host, which is a name or an IP address without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """A unix domain socket."""

    socket_name: str
    """As the socket calls take it: an abstract name (Linux) follows a null character."""

    @property
    def abstract(self) -> bool:
        """Whether it is in the abstract namespace, where no file belongs to it."""
        return self.socket_name.startswith("\0")

    @property
    def path(self) -> str:
        """The path of the socket's file, or the abstract name without its null character."""
        return self.socket_name.removeprefix("\0")

    def __str__(self) -> str:
        return f"unix-abstract:{self.path}" if self.abstract else f"unix:{self.path}"


class HeldAddress(NamedTuple):
    """An address to listen on that is bound already: the descriptors of its sockets."""

    descriptors: tuple[int, ...]
    """Several for a host name that stands for several addresses."""
    text: str
    """How it is shown: the address, where that is known, else "fd:3"."""

    def __str__(self) -> str:
        return self.text


Address: TypeAlias = TcpAddress | UnixAddress
ListenAddress: TypeAlias = TcpAddress | UnixAddress | HeldAddress


class Target(NamedTuple):
    """What a channel connects to."""

    text: str
    """The target as it was given."""
    scheme: str
    """Which resolver finds the addresses: "dns", "ipv4", "ipv6", "unix", "unix-abstract", ..."""
    endpoint: str
    """The name to resolve: the text without the scheme."""
    addresses: tuple[Address, ...]
    """Where to connect; for "dns" one host that is still to be looked up, for the scheme of a
    resolver of the program's own nothing."""
    authority: str
    """The `:authority` of calls unless the channel has one of its own."""

    @property
    def canonical(self) -> str:
        """The target with its scheme, "dns:///host:port" where the text names none."""
        slashes = "" if self.scheme != "dns" and self.scheme in _SCHEMES else "///"
        return f"{self.scheme}:{slashes}{self.endpoint}"


def parse_target(text: str, schemes: Collection[str] = ()) -> Target:
    """The target that a text stands for; `schemes` are those of resolvers beside the built-in ones.

    - `host:port`, `host`, `dns:host:port`, `dns:///host:port`: a name to look up, or an IP address
      (IPv6 in brackets: `[::1]:50051`);
    - `ipv4:1.2.3.4:50051,1.2.3.5:50051`, `ipv6:[::1]:50051,[::2]:50051`: these addresses;
    - `unix:path`, `unix:///absolute/path`, `unix-abstract:name`: a unix domain socket. Paths are
      taken as they are, without percent-decoding;
    - `scheme:name`, `scheme:///name` for each of `schemes`.

    A port that is left out is 443. The authority is the host with the port as written (for a list
    its first address), "localhost" for a unix socket, the name for a scheme of the program's own.

    Raises ValueError that names the target and what is wrong with it.
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in (*_SCHEMES, *schemes):
        _refuse_url(text, schemes)
        scheme, rest = "dns", text
    elif rest.startswith("//"):
        rest = _without_uri_authority(text, scheme, rest)
    if scheme == "dns":
        host, port = _split(text, rest)
        address = TcpAddress(_host(text, host), _port(text, port, 1, DEFAULT_PORT))
        return Target(text, scheme, rest, (address,), _authority(address, port))
    if scheme in ("ipv4", "ipv6"):
        return _ip_target(text, scheme, rest)
    if scheme in ("unix", "unix-abstract"):
        return Target(text, scheme, rest, (_unix(text, scheme, rest),), "localhost")
    return Target(text, scheme, rest, (), rest)


def parse_listen_address(text: str) -> ListenAddress:
    """The address to listen on that a text stands for.

    `host:port`, `[::1]:port`, `unix:path`, `unix:///absolute/path`, `unix-abstract:name`, or `fd:3`
    for a socket that the process was started with. Port 0 is any free port. In `:port` the host is
    empty, which stands for every interface; `0.0.0.0:port` and `[::]:port` are every interface of
    IPv4 and of IPv6.

    Raises ValueError that names the address and what is wrong with it.
    """
    scheme, _, rest = text.partition(":")
    if scheme in ("unix", "unix-abstract"):
        if rest.startswith("//"):
            rest = _without_uri_authority(text, scheme, rest)
        return _unix(text, scheme, rest)
    if scheme == "fd":
        return HeldAddress((_descriptor(text, rest),), text)
    host, port = _split(text, text)
    if port is None:
        raise _error(text, f"has no port: write {text + ':50051'!r}, or port 0 for any free one")
    return TcpAddress(_host(text, host) if host else "", _port(text, port, 0, 0))


def host_of(authority: str) -> str:
    """The host of an authority, as certificates name it: without port, brackets and final dot."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    host, _, port = authority.rpartition(":")
    return (host if port.isdecimal() and host else authority).removesuffix(".")


def _ip_target(text: str, scheme: str, rest: str) -> Target:
    addresses: list[Address] = []
    authority = ""
    for part in rest.split(","):
        if scheme == "ipv6" and not part.startswith("["):
            part = f"[{part}]"  # An IPv6 address without a port may stand without brackets.
        host, port = _split(text, part)
        _check_ip(text, host, version=4 if scheme == "ipv4" else 6)
        address = TcpAddress(host, _port(text, port, 1, DEFAULT_PORT))
        authority = authority or _authority(address, port)
        addresses.append(address)
    return Target(text, scheme, rest, tuple(addresses), authority)


def _authority(address: TcpAddress, port: str | None) -> str:
    # The zone of a link-local address means something on this machine only.
    host = address.host.partition("%")[0]
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{address.port}"


def _refuse_url(text: str, schemes: Collection[str]) -> None:
    scheme, found, rest = text.partition("://")
    if not found:
        return
    if scheme.lower() in ("http", "https", "grpc", "grpcs"):
        host = rest.partition("/")[0]
        raise _error(text, f"is a URL: write {host!r}, and ask for TLS with tls=")
    known = ", ".join((*_SCHEMES, *schemes))
    raise _error(text, f"has the unknown scheme {scheme!r}: use one of {known}")


def _without_uri_authority(text: str, scheme: str, rest: str) -> str:
    authority, slash, path = rest[2:].partition("/")
    if authority and scheme in _SCHEMES:
        # The system's resolver decides which name server it asks, and other schemes ask none.
        raise _error(text, f"names the server {authority!r} to ask: write {scheme}:///{path}")
    return slash + path if scheme.startswith("unix") else path


def _unix(text: str, scheme: str, path: str) -> UnixAddress:
    if not path:
        raise _error(text, "has no path: write it after the colon, as in 'unix:/run/shop.sock'")
    if "\0" in path:
        raise _error(text, "has a null character in its path: leave it out")
    return UnixAddress("\0" + path if scheme == "unix-abstract" else path)


def _descriptor(text: str, number: str) -> int:
    # As with ports: what is longer than a descriptor can be is not converted.
    if number.isascii() and number.isdecimal() and len(number) <= 9:
        return int(number)
    raise _error(text, "names no descriptor: write its number, as in 'fd:3'")


def _split(text: str, part: str) -> tuple[str, str | None]:
    """Host and port of a part of `text`; the host without brackets, and what is in them checked."""
    if part.startswith("["):
        host, closed, tail = part[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise _error(text, "has brackets that do not enclose an address: write [::1]:50051")
        _check_ip(text, host, version=6)
        return host, tail[1:] if tail else None
    host, colon, port = part.partition(":")
    if ":" in port:
        raise _error(text, f"has several colons: put an IPv6 address in brackets, [{part}]:50051")
    return host, port if colon else None


def _host(text: str, host: str) -> str:
    """The host in ASCII, checked."""
    if ":" in host:
        return host  # An IPv6 address: checked where its brackets were taken off.
    if not host:
        raise _error(text, "has no host: write host:port, as in 'localhost:50051'")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise _error(text, f"has a host that is not a domain name: {error}") from None
    if not _HOST_CHARACTERS.issuperset(host.lower()):
        raise _error(text, f"has the host {host!r}: a host consists of letters, digits, '-._'")
    if host.isdecimal():
        raise _error(text, f"has the host {host!r}, a number: write host:port")
    return host


def _port(text: str, port: str | None, least: int, default: int) -> int:
    if port is None:
        return default
    # More digits than a port can have are not converted: int() refuses thousands of them.
    if port.isascii() and port.isdecimal() and len(port) <= 5 and least <= int(port) <= 65535:
        return int(port)
    raise _error(text, f"has the port {port!r}: a port is a number from {least} to 65535")


def _check_ip(text: str, host: str, version: int) -> None:
    import ipaddress  # Takes 3 ms to import; few targets need it.

    try:
        ipaddress.IPv4Address(host) if version == 4 else ipaddress.IPv6Address(host)
    except ValueError as error:
        raise _error(text, f"has no IPv{version} address in {host!r}: {error}") from None


def _error(text: str, problem: str) -> ValueError:
    return ValueError(f"address {text!r} {problem}")
