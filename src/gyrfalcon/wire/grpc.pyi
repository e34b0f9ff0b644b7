from typing import Final

from .._core.fields import Fields
from .exchange import Exchange, ServerWire

GRPC: Final[GrpcServerWire]
OWN_FIELDS: Final[frozenset[bytes]]

class GrpcServerWire(ServerWire):
    """The server's side of gRPC over HTTP/2."""

    def take_encoding(self, exchange: Exchange, encoding: bytes) -> bool: ...
    def write_status_fields(
        self,
        exchange: Exchange,
        code: int,
        message: str,
        metadata: object,
        details: bytes | None,
        more: Fields | None,
    ) -> None: ...

class RequestTemplate:
    """The fixed part of the request heads of one method on one channel."""

    def __init__(
        self, path: bytes, authority: bytes, scheme: bytes, user_agent: bytes, subtype: str
    ) -> None: ...
    @property
    def fields(self) -> Fields: ...
    @property
    def path(self) -> bytes: ...

class Outcome:
    """How a call ended, as its trailers or the reset of its stream say."""

    @property
    def code(self) -> int: ...
    @property
    def message(self) -> str: ...
    @property
    def details(self) -> bytes | None: ...
