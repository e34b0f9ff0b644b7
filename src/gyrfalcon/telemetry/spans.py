"""What spans of calls say (the semantic conventions for RPC and gRPC)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Status, StatusCode

import gyrfalcon as gyr

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Attributes = dict[str, "str | int"]

# Of the other codes a server says that the client asked for what cannot be had.
SERVER_ERRORS: Final = frozenset(
    {
        gyr.StatusCode.UNKNOWN,
        gyr.StatusCode.DEADLINE_EXCEEDED,
        gyr.StatusCode.UNIMPLEMENTED,
        gyr.StatusCode.INTERNAL,
        gyr.StatusCode.UNAVAILABLE,
        gyr.StatusCode.DATA_LOSS,
    }
)


def method_attributes(name: str) -> Attributes:
    """What is known of a call by its name, "package.Service/Method"."""
    return {"rpc.system.name": "grpc", "rpc.method": name}


def server_attributes(target: str) -> Attributes:
    """The logical name of the server: a host and its port, or the path of a socket."""
    scheme, _, rest = target.partition(":")
    rest = rest.removeprefix("///") if not scheme.startswith("unix") else rest
    if scheme in ("dns", "ipv4", "ipv6"):
        return _address("server", rest.partition(",")[0])
    return {"server.address": rest}


def peer_attributes(peer: str | None) -> Attributes:
    """The other end of the connection, "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:/path"."""
    if peer is None:
        return {}
    scheme, _, rest = peer.partition(":")
    if scheme in ("ipv4", "ipv6"):
        return {
            **_address("network.peer", rest),
            "network.transport": "tcp",
            "network.type": scheme,
        }
    if scheme.startswith("unix"):
        return {"network.transport": "unix", **({"network.peer.address": rest} if rest else {})}
    return {}


def _address(prefix: str, text: str) -> Attributes:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = text, ""
    found: Attributes = {f"{prefix}.address": host.removeprefix("[").removesuffix("]")}
    if port:
        found[f"{prefix}.port"] = int(port)
    return found


def end_span(span: Span, code: gyr.StatusCode, text: str, error: BaseException | None) -> None:
    """End the span of a call with its status; `error`: None where that is no error."""
    if span.is_recording():
        span.set_attribute("rpc.response.status_code", code.name)
        if error is not None:
            span.set_attribute("error.type", code.name)
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, text))
    span.end()


class Messages:
    """The messages of one call, as events of its span."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._sent = itertools.count(1)
        self._received = itertools.count(1)

    def sent(self, message: Any) -> None:
        """Note a message that goes."""
        self._add("SENT", next(self._sent), message)

    def received(self, message: Any) -> None:
        """Note a message that came."""
        self._add("RECEIVED", next(self._received), message)

    def _add(self, kind: str, number: int, message: Any) -> None:
        if not self._span.is_recording():
            return
        attributes: Attributes = {"rpc.message.type": kind, "rpc.message.id": number}
        size = getattr(message, "ByteSize", None)  # not every codec's messages have one
        if size is not None:
            attributes["rpc.message.uncompressed_size"] = size()
        self._span.add_event("rpc.message", attributes)
