"""Error details: `google.rpc.Status` in the trailer `grpc-status-details-bin`.

Imported only when a call has details. The message type is built in a descriptor pool of its own:
the default pool, where a program's own copy of google/rpc/status.proto may turn up at any time,
is never added to, so the two cannot clash.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger("gyrfalcon.client")

_TYPE_URL: Final = "type.googleapis.com/"

# Where the types are that errors usually have as details; the first comes with
# googleapis-common-protos. Nothing else is imported because a peer names it.
_HOMES: Final = {
    "google.rpc": ("google.rpc.error_details_pb2",),
    "google.protobuf": (
        "google.protobuf.duration_pb2",
        "google.protobuf.empty_pb2",
        "google.protobuf.field_mask_pb2",
        "google.protobuf.struct_pb2",
        "google.protobuf.timestamp_pb2",
        "google.protobuf.wrappers_pb2",
    ),
}


@cache
def _status_type() -> type[Any]:
    """The class of google.rpc.Status: code = 1, message = 2, details = 3 (repeated Any)."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto",
        package="google.rpc",
        syntax="proto3",
        dependency=[any_pb2.DESCRIPTOR.name],
    )
    status = file.message_type.add(name="Status")
    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    status.field.add(name="code", number=1, label=one, type=field.TYPE_INT32)
    status.field.add(name="message", number=2, label=one, type=field.TYPE_STRING)
    status.field.add(
        name="details",
        number=3,
        label=many,
        type=field.TYPE_MESSAGE,
        type_name=".google.protobuf.Any",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))


def check_details(details: Any) -> tuple[Message, ...]:
    """`details` as a tuple. Raises TypeError for what is no series of protobuf messages."""
    if isinstance(details, Message) or not hasattr(details, "__iter__"):
        raise TypeError(
            f"details is {_name(details)}, and must be a list of protobuf messages: pass [...]"
        )
    found = tuple(details)
    for detail in found:
        if not isinstance(detail, Message):
            raise TypeError(
                f"error detail {detail!r} is {_name(detail)}: details are protobuf messages"
            )
    return found


def _name(value: object) -> str:
    return type(value).__name__


def encode_details(code: int, message: str, details: Iterable[Message]) -> bytes:
    """The serialized google.rpc.Status with each detail packed; a detail that is an Any stays one.

    Raises TypeError for a detail that is not a protobuf message, EncodeError for one that lacks
    a required field.
    """
    # A str may hold half of a surrogate pair, a message may not: `grpc-message` replaces it too.
    text = message.encode("utf-8", "replace").decode()
    status = _status_type()(code=code, message=text)
    for detail in check_details(details):
        if isinstance(detail, any_pb2.Any):
            status.details.add(type_url=detail.type_url, value=detail.value)
        else:
            status.details.add(
                type_url=_TYPE_URL + detail.DESCRIPTOR.full_name, value=detail.SerializeToString()
            )
    encoded: bytes = status.SerializeToString()
    return encoded


def fit_details(data: bytes, code: int, message: str, limit: int) -> tuple[bytes, int]:
    """A serialized google.rpc.Status that says `code` and `message` and has at most `limit` bytes,
    and how many of its details were left out for that: the last ones.

    The very same bytes when they do so already. No bytes when not even the status itself fits, and
    for bytes that are no such message, or one with another code. Receivers are told to check that
    it agrees with `grpc-status` (`PROTOCOL-HTTP2`, Status-Details), and some check the text too.
    """
    try:
        status = _status_type().FromString(data)
    except DecodeError:
        return b"", 0
    if status.code not in (code, 0):
        return b"", 0
    if status.code == code and status.message == message and len(data) <= limit:
        return data, 0
    status.code = code
    status.message = message
    count = len(status.details)
    while status.ByteSize() > limit:
        if not status.details:
            return b"", count
        del status.details[-1]
    encoded: bytes = status.SerializeToString()
    return encoded, count - len(status.details)


def decode_details(data: bytes, code: int) -> tuple[Message, ...]:
    """The details in a serialized google.rpc.Status; never fails, whatever a peer sent.

    Empty for bytes that are no such message, and for one that contradicts `code`, which
    `PROTOCOL-HTTP2` (Status-Details) tells the receiver to check: `grpc-status` is what counts,
    and the contradiction is logged. A detail whose type is not known, or whose bytes do not parse,
    is returned as `google.protobuf.Any`. Known are the types of the default descriptor pool, those
    of google.rpc where googleapis-common-protos is installed, and the usual ones of
    google.protobuf.
    """
    try:
        status = _status_type().FromString(data)
    except DecodeError:
        log.info("grpc-status-details-bin of %d bytes is no google.rpc.Status", len(data))
        return ()
    if status.code not in (code, 0):
        log.info(
            "grpc-status-details-bin says code %d and grpc-status %d: its details are dropped",
            status.code,
            code,
        )
        return ()
    return tuple(_unpack(packed.type_url, packed.value) for packed in status.details)


def _unpack(type_url: str, value: bytes) -> Message:
    name = type_url.rpartition("/")[2]
    try:
        detail: Message = message_factory.GetMessageClass(_find_type(name)).FromString(value)
    except (KeyError, DecodeError):
        return any_pb2.Any(type_url=type_url, value=value)
    return detail


def _find_type(name: str) -> Any:
    """The descriptor of a message type. KeyError when it is not known."""
    pool = descriptor_pool.Default()
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        if not _load(name.rpartition(".")[0]):
            raise
        return pool.FindMessageTypeByName(name)


def _load(package: str) -> bool:
    """Import the modules of a package's usual detail types, if there are any."""
    return package in _HOMES and _load_home(package)


@cache
def _load_home(package: str) -> bool:
    try:
        for module in _HOMES[package]:
            import_module(module)
    except ImportError:
        return False
    return True
