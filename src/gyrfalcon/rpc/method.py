"""What a service definition says: its methods, their call patterns and message types."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

from .codec import PROTOBUF, Codec, check_codec

Req = TypeVar("Req")
Res = TypeVar("Res")
_F = TypeVar("_F", bound=Callable[..., Any])


class Pattern(enum.Enum):
    """The four shapes of a call. The value is (client streaming, server streaming)."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)

    client_streaming: bool
    """Whether the client sends a stream of messages rather than one."""
    server_streaming: bool
    """Whether the server answers with a stream of messages rather than one."""

    def __init__(self, client_streaming: bool, server_streaming: bool) -> None:
        self.client_streaming = client_streaming
        self.server_streaming = server_streaming


# Without slots: in CPython 3.11 a frozen dataclass that has them raises TypeError for
# Method[A, B](...), where typing notes A and B.
@dataclass(frozen=True)
class Method(Generic[Req, Res]):
    """One method of a service. Immutable and hashable.

    Raises ValueError for a service or a name that cannot stand in a path, and for a codec whose
    name cannot stand in a content-type; TypeError for a codec that is none.
    """

    service: str
    """The full name of the service, "ecommerce.OrderManagement"."""
    name: str
    """The name on the wire, "getOrder"."""
    attribute: str
    """The name in Python, "get_order"."""
    pattern: Pattern
    request: type[Req]
    response: type[Res]
    codec: Codec = PROTOBUF
    """How its messages become bytes and back."""
    path: str = field(init=False, repr=False, compare=False)
    """What is called on the wire, "/ecommerce.OrderManagement/getOrder"."""

    def __post_init__(self) -> None:
        for what, text in (("service", self.service), ("name", self.name)):
            if not text or "/" in text or not (text.isascii() and text.isprintable()):
                raise ValueError(
                    f"Method {what} is {text!r}: it must be printable ASCII without '/', as in"
                    " service 'ecommerce.OrderManagement', name 'getOrder'"
                )
        if self.codec is not PROTOBUF:
            check_codec(self.codec)
        object.__setattr__(self, "path", f"/{self.service}/{self.name}")

    def __hash__(self) -> int:
        return hash(self.path)


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """A service: its full name and its methods.

    Raises ValueError when a method belongs to another service or stands there twice.
    """

    name: str
    methods: tuple[Method[Any, Any], ...]

    def __post_init__(self) -> None:
        paths: set[str] = set()
        for method in self.methods:
            if method.service != self.name:
                raise ValueError(
                    f"service {self.name!r} cannot have the method {method.path!r}: its service is"
                    f" {method.service!r}"
                )
            if method.path in paths:
                raise ValueError(f"service {self.name!r} has the method {method.path!r} twice")
            paths.add(method.path)


class Service:
    """The base of service classes: of generated ones, from which servers' own derive, and of those
    written by hand, which have a definition and its handlers in one class."""

    __slots__ = ()

    __gyr_service__: ClassVar[ServiceDefinition]


def placeholder(function: _F) -> _F:
    """Mark a method of a service class as no handler: it stands in for one until a derived class
    overrides it, and calls of it answer UNIMPLEMENTED. Generated classes do this."""
    # Its own code with it: functools.wraps hands attributes on to what is a handler.
    cast("Any", function).__gyr_placeholder__ = function.__code__
    return function


def is_placeholder(function: Any) -> bool:
    """Whether a method of a service only stands in for a handler."""
    mark = getattr(function, "__gyr_placeholder__", None)
    return mark is not None and mark is getattr(function, "__code__", None)
