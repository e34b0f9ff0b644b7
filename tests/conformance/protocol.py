"""How the programs under test talk to the runner, and its words for metadata and errors.

Messages go over stdin and stdout, each behind its size as four bytes, big end first.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from typing import BinaryIO, TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

import gyrfalcon as gyr
from tests.conformance.proto.connectrpc.conformance.v1 import config_pb2, service_pb2

SIZE = struct.Struct(">I")
MIB = 1024 * 1024
# The largest that the runner itself would take; a size over it is no size.
LONGEST_MESSAGE = 16 * MIB

MessageT = TypeVar("MessageT", bound=Message)


def read_message(stream: BinaryIO, kind: type[MessageT]) -> MessageT | None:
    """The next message; None where the stream ends in front of one."""
    prefix = stream.read(SIZE.size)
    if not prefix:
        return None
    if len(prefix) < SIZE.size:
        raise EOFError(f"the stream ends within the size of a {kind.__name__}")
    (size,) = SIZE.unpack(prefix)
    if size > LONGEST_MESSAGE:
        raise ValueError(f"a {kind.__name__} of {size} bytes: {LONGEST_MESSAGE} is the most")
    data = stream.read(size)
    if len(data) < size:
        raise EOFError(f"the stream ends after {len(data)} of a {kind.__name__}'s {size} bytes")
    return kind.FromString(data)


def write_message(stream: BinaryIO, message: Message) -> None:
    data = message.SerializeToString()
    stream.write(SIZE.pack(len(data)) + data)
    stream.flush()


def check_wire(protocol: config_pb2.Protocol, version: config_pb2.HTTPVersion) -> None:
    """ValueError for what is not spoken: all but gRPC over HTTP/2."""
    if protocol != config_pb2.PROTOCOL_GRPC:
        raise ValueError(f"{config_pb2.Protocol.Name(protocol)} is not spoken; PROTOCOL_GRPC is")
    if version != config_pb2.HTTP_VERSION_2:
        raise ValueError(f"{config_pb2.HTTPVersion.Name(version)} is not spoken; HTTP_VERSION_2 is")


def metadata_of(headers: Iterable[service_pb2.Header]) -> gyr.Metadata:
    """The runner's headers as metadata; it spells binary values as unpadded base64."""
    metadata = gyr.Metadata()
    for header in headers:
        for value in header.value:
            if header.name.lower().endswith("-bin"):
                metadata.add(header.name, base64.b64decode(value + "=" * (-len(value) % 4)))
            else:
                metadata.add(header.name, value)
    return metadata


def headers_of(metadata: gyr.Metadata) -> list[service_pb2.Header]:
    """Metadata as the runner's headers: each name once, with all its values."""
    return [
        service_pb2.Header(
            name=key,
            value=[
                value if isinstance(value, str) else base64.b64encode(value).decode().rstrip("=")
                for value in metadata.get_all(key)
            ],
        )
        for key in metadata
    ]


def packed(message: Message) -> Any:
    """A message as an Any; one that is an Any already stays as it is."""
    if isinstance(message, Any):
        return message
    found = Any()
    found.Pack(message)
    return found


def error_of(status: gyr.Status) -> service_pb2.Error:
    """How a call failed, in the runner's words."""
    return service_pb2.Error(
        code=config_pb2.Code.Name(status.code),
        message=status.message,
        details=[packed(detail) for detail in status.details],
    )
