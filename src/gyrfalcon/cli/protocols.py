"""The two services that tools ask servers about themselves: reflection and health.

Their messages live in a descriptor pool of their own, so that they cannot clash with the copies
that a served program brings.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import gyrfalcon as gyr

# Fields as "type name = number"; what stands after "|" belongs to the message's one oneof.
_MESSAGES: dict[str, list[str]] = {
    "ServerReflectionRequest": [
        "string host = 1",
        "| string file_by_filename = 3",
        "| string file_containing_symbol = 4",
        "| ExtensionRequest file_containing_extension = 5",
        "| string all_extension_numbers_of_type = 6",
        "| string list_services = 7",
    ],
    "ExtensionRequest": ["string containing_type = 1", "int32 extension_number = 2"],
    "ServerReflectionResponse": [
        "string valid_host = 1",
        "ServerReflectionRequest original_request = 2",
        "| FileDescriptorResponse file_descriptor_response = 4",
        "| ExtensionNumberResponse all_extension_numbers_response = 5",
        "| ListServiceResponse list_services_response = 6",
        "| ErrorResponse error_response = 7",
    ],
    "FileDescriptorResponse": ["repeated bytes file_descriptor_proto = 1"],
    "ExtensionNumberResponse": ["string base_type_name = 1", "repeated int32 extension_number = 2"],
    "ListServiceResponse": ["repeated ServiceResponse service = 1"],
    "ServiceResponse": ["string name = 1"],
    "ErrorResponse": ["int32 error_code = 1", "string error_message = 2"],
    "HealthCheckRequest": ["string service = 1"],
    "HealthCheckResponse": ["ServingStatus status = 1"],
    "HealthListRequest": [],
    "HealthListResponse": ["repeated StatusesEntry statuses = 1"],
    "StatusesEntry": ["string key = 1", "HealthCheckResponse value = 2"],
}
_SERVING_STATUS = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")


def _pool() -> DescriptorPool:
    file = FileDescriptorProto(name="protocols.proto", package="gyr", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields:
            *labels, kind, field_name, _, number = text.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = FieldDescriptorProto.LABEL_OPTIONAL
            if "repeated" in labels:
                field.label = FieldDescriptorProto.LABEL_REPEATED
            if kind.islower():
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
            else:
                field.type_name = f".gyr.{kind}"
            if "|" in labels:
                field.oneof_index = 0
                if not message.oneof_decl:
                    message.oneof_decl.add(name="one")
    statuses = file.enum_type.add(name="ServingStatus")
    for index, status in enumerate(_SERVING_STATUS):
        statuses.value.add(name=status, number=index)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _pool()


def _class(name: str) -> Any:
    return GetMessageClass(_POOL.FindMessageTypeByName(f"gyr.{name}"))


def _method(
    service: str, name: str, pattern: gyr.Pattern, request: str, response: str
) -> gyr.Method[Any, Any]:
    return gyr.Method(service, name, name.lower(), pattern, _class(request), _class(response))


ReflectionRequest: Any = _class("ServerReflectionRequest")
HealthCheckRequest: Any = _class("HealthCheckRequest")
HealthListRequest: Any = _class("HealthListRequest")

REFLECTION = {
    # The two versions have the same messages.
    version: _method(
        f"grpc.reflection.{version}.ServerReflection",
        "ServerReflectionInfo",
        gyr.Pattern.STREAM_STREAM,
        "ServerReflectionRequest",
        "ServerReflectionResponse",
    )
    for version in ("v1", "v1alpha")
}
HEALTH_CHECK = _method(
    "grpc.health.v1.Health",
    "Check",
    gyr.Pattern.UNARY_UNARY,
    "HealthCheckRequest",
    "HealthCheckResponse",
)
HEALTH_WATCH = _method(
    "grpc.health.v1.Health",
    "Watch",
    gyr.Pattern.UNARY_STREAM,
    "HealthCheckRequest",
    "HealthCheckResponse",
)
HEALTH_LIST = _method(
    "grpc.health.v1.Health",
    "List",
    gyr.Pattern.UNARY_UNARY,
    "HealthListRequest",
    "HealthListResponse",
)


def status_name(number: int) -> str:
    """The name of a serving status, "SERVING"; the number where it is none."""
    return _SERVING_STATUS[number] if 0 <= number < len(_SERVING_STATUS) else str(number)
