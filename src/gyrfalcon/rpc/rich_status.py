"""Error details: `google.rpc.Status` in the trailer `grpc-status-details-bin`.

Imported only when a call has details. The message type is built in a descriptor pool of its own:
the default pool, where a program's own copy of google/rpc/status.proto may turn up at any time,
is never added to, so the two cannot clash.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

if TYPE_CHECKING:
    from collections.abc import Iterable

_TYPE_URL: Final = "type.googleapis.com/"


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


def encode_details(code: int, message: str, details: Iterable[Message]) -> bytes:
    """The serialized google.rpc.Status with each detail packed; a detail that is an Any stays one.

    Raises TypeError for a detail that is not a protobuf message.
    """
    status = _status_type()(code=code, message=message)
    for detail in details:
        if isinstance(detail, any_pb2.Any):
            status.details.add(type_url=detail.type_url, value=detail.value)
        elif isinstance(detail, Message):
            status.details.add(
                type_url=_TYPE_URL + detail.DESCRIPTOR.full_name, value=detail.SerializeToString()
            )
        else:
            raise TypeError(
                f"error detail {detail!r} is {type(detail).__name__}: details are protobuf messages"
            )
    encoded: bytes = status.SerializeToString()
    return encoded


def decode_details(data: bytes, code: int) -> tuple[Message, ...]:
    """The details in a serialized google.rpc.Status; never fails, whatever a peer sent.

    Empty for bytes that are no such message, and for one that contradicts `code`, which
    `PROTOCOL-HTTP2` (Status-Details) tells the receiver to check. A detail whose type is not in the
    default descriptor pool, or whose bytes do not parse, is returned as `google.protobuf.Any`.
    """
    try:
        status = _status_type().FromString(data)
    except DecodeError:
        return ()
    if status.code not in (code, 0):
        return ()
    return tuple(_unpack(packed.type_url, packed.value) for packed in status.details)


def _unpack(type_url: str, value: bytes) -> Message:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(type_url.rpartition("/")[2])
        detail: Message = message_factory.GetMessageClass(descriptor).FromString(value)
    except (KeyError, DecodeError):
        return any_pb2.Any(type_url=type_url, value=value)
    return detail
