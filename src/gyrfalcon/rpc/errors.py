"""The exceptions of failed calls: one class for each status code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self, cast

from .metadata import Metadata, MetadataLike
from .quoting import cut, quote, quote_details, quoted
from .status import Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message


class RpcError(Exception):
    """A call that ended with a code other than OK.

    Raise a subclass, such as `NotFound("no order '7'")`. `RpcError(message, code=code)` makes an
    instance of the subclass for `code` (UNKNOWN when it is left out). A class of your own that is
    derived from a subclass has that one's code; derived from RpcError itself it takes `code`.

    Attributes:
        code: the status code, never OK.
        message: the text for the caller; it is sent as `grpc-message`.
        details: protobuf messages; they are sent as `grpc-status-details-bin`.
        initial_metadata: what the peer sent before its messages; empty for a local error.
        trailing_metadata: what is sent, or was received, with the status.
        method: the path of the method called, such as "/pkg.Service/Method", where known.
        peer: the address of the other side, such as "ipv4:127.0.0.1:50051", where known.

    `str()` is one line with code, message, method, peer and details, of which what a peer wrote is
    escaped and cut.

    Raises ValueError for code OK, for a code that contradicts the class, and for metadata that
    cannot be sent; TypeError for details that are no protobuf messages.
    """

    code: StatusCode = StatusCode.UNKNOWN
    message: str
    initial_metadata: Metadata
    trailing_metadata: Metadata
    method: str | None = None
    peer: str | None = None
    _details: bytes | tuple[Message, ...]

    # OSError does the same: asked for by number, it is the class that `except` would name.
    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        kind: type[RpcError] = cls
        if cls is RpcError:
            code = kwargs.get("code")
            kind = error_class(StatusCode.UNKNOWN if code is None else code)
        return cast("Self", Exception.__new__(kind, *args))

    def __init__(
        self,
        message: str = "",
        *,
        code: StatusCode | None = None,
        details: Sequence[Message] = (),
        trailing_metadata: MetadataLike = None,
    ) -> None:
        super().__init__(message)
        if code is not None and code != self.code:
            self._take_code(StatusCode(code))
        # What is no str is most likely an exception that was caught: as it would be printed.
        self.message = message if isinstance(message, str) else str(message)
        self._details = _checked(details)
        self.initial_metadata = Metadata()
        self.trailing_metadata = Metadata(trailing_metadata)

    def _take_code(self, code: StatusCode) -> None:
        if code is StatusCode.OK:
            raise ValueError("code OK is not an error: return normally instead of raising")
        if isinstance(self, tuple(_CLASSES.values())):
            raise ValueError(
                f"{type(self).__name__} has the code {self.code.name}, not {code.name}: raise"
                f" {error_class(code).__name__}, or leave the code out"
            )
        self.code = code

    @property
    def details(self) -> tuple[Message, ...]:
        """The detail messages; what a peer sent is decoded when first read.

        Types of google.rpc, such as ErrorInfo, are known where googleapis-common-protos is
        installed, others where the program has imported them; a detail of a type that is not known
        stays a `google.protobuf.Any`.
        """
        details = self._details
        if isinstance(details, bytes):
            from .rich_status import decode_details

            self._details = details = decode_details(details, self.code)
        return details

    @details.setter
    def details(self, details: Sequence[Message]) -> None:
        self._details = _checked(details)

    @property
    def status(self) -> Status:
        """Code, message and details as a Status."""
        return Status(self.code, self.message, self._details)

    def __str__(self) -> str:
        text = self.code.name
        if self.message:
            text = f"{text}: {quote(self.message)}"
        known = [
            f"{name} {quote(value)}"
            for name in ("method", "peer")
            if (value := getattr(self, name))
        ]
        if details := self.details:
            known.append(f"details {quote_details(details)}")
        return f"{text} ({', '.join(known)})" if known else text

    def __repr__(self) -> str:
        parts = [quoted(self.message), f"code={self.code.name}"]
        parts += [
            f"{name}={quoted(value)}"
            for name in ("method", "peer")
            if (value := getattr(self, name))
        ]
        if details := self.details:
            parts.append(f"details=[{quote_details(details)}]")
        if self.trailing_metadata:
            parts.append(f"trailing_metadata={cut(repr(self.trailing_metadata))}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Details travel encoded: a message class may not be importable where it is unpickled.
        state = self.__dict__ | {"_details": self.status.encoded_details()}
        return _restore, (type(self), self.args), state


class Cancelled(RpcError):
    """The call was cancelled, usually by its caller."""

    code = StatusCode.CANCELLED


class Unknown(RpcError):
    """An error without a better code, such as an exception in a handler."""

    code = StatusCode.UNKNOWN


class InvalidArgument(RpcError):
    """An argument is wrong whatever the state of the system is."""

    code = StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(RpcError):
    """The deadline passed before the call ended; it may have had its effect all the same."""

    code = StatusCode.DEADLINE_EXCEEDED


class NotFound(RpcError):
    """Something that was asked for does not exist."""

    code = StatusCode.NOT_FOUND


class AlreadyExists(RpcError):
    """Something that was to be created exists."""

    code = StatusCode.ALREADY_EXISTS


class PermissionDenied(RpcError):
    """The caller is known, and may not do this."""

    code = StatusCode.PERMISSION_DENIED


class ResourceExhausted(RpcError):
    """A quota or a size limit is used up."""

    code = StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(RpcError):
    """The system is not in the state that the call needs; repeating it alone does not help."""

    code = StatusCode.FAILED_PRECONDITION


class Aborted(RpcError):
    """The call lost to a concurrent one; repeat the whole transaction."""

    code = StatusCode.ABORTED


class OutOfRange(RpcError):
    """Past the valid range, which may grow, such as reading after the end of a file."""

    code = StatusCode.OUT_OF_RANGE


class Unimplemented(RpcError):
    """The server does not have this method."""

    code = StatusCode.UNIMPLEMENTED


class Internal(RpcError):
    """Something that always holds did not: a fault in the server, the client or the protocol."""

    code = StatusCode.INTERNAL


class Unavailable(RpcError):
    """The server cannot be reached now; repeat after a pause."""

    code = StatusCode.UNAVAILABLE


class DataLoss(RpcError):
    """Data is lost or damaged beyond repair."""

    code = StatusCode.DATA_LOSS


class Unauthenticated(RpcError):
    """The caller did not prove who it is."""

    code = StatusCode.UNAUTHENTICATED


_CLASSES: Final[dict[int, type[RpcError]]] = {
    kind.code: kind
    for kind in (
        Cancelled,
        Unknown,
        InvalidArgument,
        DeadlineExceeded,
        NotFound,
        AlreadyExists,
        PermissionDenied,
        ResourceExhausted,
        FailedPrecondition,
        Aborted,
        OutOfRange,
        Unimplemented,
        Internal,
        Unavailable,
        DataLoss,
        Unauthenticated,
    )
}


def error_class(code: int) -> type[RpcError]:
    """The subclass of RpcError for a code; Unknown for a number that is no code.

    Raises ValueError for OK.
    """
    if code == 0:
        raise ValueError("code OK is not an error: it has no exception class")
    return _CLASSES.get(code, Unknown)


def from_status(
    code: int,
    message: str = "",
    *,
    initial_metadata: Metadata | None = None,
    trailing_metadata: Metadata | None = None,
    details: bytes | Sequence[Message] = (),
    method: str | None = None,
    peer: str | None = None,
) -> RpcError:
    """The error for a status received or made up locally.

    A number that is no code gives Unknown, and the message keeps the number. The metadata objects
    are kept, not copied. `details` is messages or the bytes of `grpc-status-details-bin`.
    Raises ValueError for code OK.
    """
    kind = error_class(code)
    if code not in _CLASSES:
        message = f"{message} (status code {code})" if message else f"status code {code}"
    error = kind(message)
    error._details = details if isinstance(details, bytes) else tuple(details)
    if initial_metadata is not None:
        error.initial_metadata = initial_metadata
    if trailing_metadata is not None:
        error.trailing_metadata = trailing_metadata
    if method is not None:
        error.method = method
    if peer is not None:
        error.peer = peer
    return error


def _checked(details: Sequence[Message]) -> tuple[Message, ...]:
    if not details:
        return ()
    from .rich_status import check_details

    return check_details(details)


def _restore(kind: type[RpcError], args: tuple[Any, ...]) -> RpcError:
    return Exception.__new__(kind, *args)
