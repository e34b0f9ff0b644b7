"""Status codes, the status of a finished call, and the codes that stand in for a missing status."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from .quoting import quote_details, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message


class CodeType(enum.EnumType):
    """The class of StatusCode, which native code teaches to look its members up quickly."""


class StatusCode(enum.IntEnum, metaclass=CodeType):
    """The 17 codes a call can end with (gRPC `statuscodes`)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Status:
    """How a call ended: a code, a text and, optionally, details. Immutable.

    `details` may be given as messages or as the bytes of a `google.rpc.Status` (the value of
    `grpc-status-details-bin`); bytes are decoded when `details` is first read.
    """

    __slots__ = ("_details", "code", "message")

    code: StatusCode
    message: str
    _details: bytes | tuple[Message, ...]

    def __init__(
        self,
        code: StatusCode,
        message: str = "",
        details: bytes | Sequence[Message] = (),
    ) -> None:
        put = object.__setattr__
        put(self, "code", code)
        put(self, "message", message)
        put(self, "_details", details if isinstance(details, bytes) else tuple(details))

    @property
    def ok(self) -> bool:
        """Whether the code is OK."""
        return self.code == StatusCode.OK

    @property
    def details(self) -> tuple[Message, ...]:
        """The detail messages; empty when there are none or when the peer's bytes are not valid.

        A detail of a type that is not known stays a `google.protobuf.Any`, as in RpcError.details.
        """
        details = self._details
        if isinstance(details, bytes):
            from .rich_status import decode_details

            details = decode_details(details, self.code)
            object.__setattr__(self, "_details", details)
        return details

    def encoded_details(self) -> bytes:
        """The details as the value of `grpc-status-details-bin`; empty when there are none."""
        details = self._details
        if isinstance(details, bytes):
            return details
        if not details:
            return b""
        from .rich_status import encode_details

        return encode_details(self.code, self.message, details)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Status.{name} cannot be set: a Status is immutable, make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Status.{name} cannot be deleted: a Status is immutable")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Status):
            return NotImplemented
        return (
            self.code == other.code
            and self.message == other.message
            and self.details == other.details
        )

    def __hash__(self) -> int:
        return hash((self.code, self.message))

    def __reduce__(self) -> tuple[type[Status], tuple[StatusCode, str, bytes]]:
        return Status, (self.code, self.message, self.encoded_details())

    def __repr__(self) -> str:
        details = f", details=[{quote_details(self.details)}]" if self.details else ""
        return f"Status({self.code.name}, {quoted(self.message)}{details})"


OK: Final = Status(StatusCode.OK)

_HTTP: Final = {
    400: StatusCode.INTERNAL,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.UNAVAILABLE,
}

# RFC 9113 section 7. What is not here is INTERNAL: section 7 lets unknown codes count as
# INTERNAL_ERROR, and STREAM_CLOSED (5) and HTTP_1_1_REQUIRED (13) answer a fault of ours.
_RESET: Final = {
    7: StatusCode.UNAVAILABLE,  # REFUSED_STREAM
    8: StatusCode.CANCELLED,  # CANCEL
    11: StatusCode.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    12: StatusCode.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


def code_name(code: int) -> str:
    """The name of a code, "NOT_FOUND"; of a number that is none, "code 42"."""
    try:
        return StatusCode(code).name
    except ValueError:
        return f"code {code}"


def code_from_http(http_status: int) -> StatusCode:
    """The code of a reply without `grpc-status`, by HTTP status (`http-grpc-status-mapping`)."""
    return _HTTP.get(http_status, StatusCode.UNKNOWN)


def code_from_reset(error_code: int) -> StatusCode:
    """The code of a call whose stream was reset, by the error code of the RST_STREAM frame."""
    return _RESET.get(error_code, StatusCode.INTERNAL)
