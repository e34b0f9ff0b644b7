"""The JSON of a message with every field in it, to be filled in."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

# As the JSON mapping writes them.
_WELL_KNOWN: dict[str, Any] = {
    "google.protobuf.Any": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    "google.protobuf.BoolValue": False,
    "google.protobuf.BytesValue": "",
    "google.protobuf.DoubleValue": 0.0,
    "google.protobuf.Duration": "0s",
    "google.protobuf.Empty": {},
    "google.protobuf.FieldMask": "",
    "google.protobuf.FloatValue": 0.0,
    "google.protobuf.Int32Value": 0,
    "google.protobuf.Int64Value": "0",
    "google.protobuf.ListValue": [],
    "google.protobuf.StringValue": "",
    "google.protobuf.Struct": {},
    "google.protobuf.Timestamp": "1970-01-01T00:00:00Z",
    "google.protobuf.UInt32Value": 0,
    "google.protobuf.UInt64Value": "0",
    "google.protobuf.Value": None,
}
_SCALARS: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_BOOL: False,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.0,
    FieldDescriptor.CPPTYPE_FLOAT: 0.0,
    FieldDescriptor.CPPTYPE_INT32: 0,
    FieldDescriptor.CPPTYPE_INT64: "0",
    FieldDescriptor.CPPTYPE_STRING: "",
    FieldDescriptor.CPPTYPE_UINT32: 0,
    FieldDescriptor.CPPTYPE_UINT64: "0",
}


def template(message: Descriptor, inside: tuple[str, ...] = ()) -> Any:
    """A value for a message type: of a oneof the first field, of a repeated field one element; a
    message inside one of its own type is empty."""
    name = message.full_name
    if name in _WELL_KNOWN:
        return _WELL_KNOWN[name]
    if name in inside:
        return {}
    fields = [field for field in message.fields if not _is_alternative(field)]
    return {field.json_name: _value(field, (*inside, name)) for field in fields}


def _is_alternative(field: FieldDescriptor) -> bool:
    oneof = field.containing_oneof
    return oneof is not None and oneof.fields[0].number != field.number


def _value(field: FieldDescriptor, inside: tuple[str, ...]) -> Any:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = message.fields_by_name["key"], message.fields_by_name["value"]
        # Keys are strings in JSON, whatever their type.
        name = _one(key, inside)
        return {name if isinstance(name, str) else str(name).lower(): _one(value, inside)}
    one = _one(field, inside)
    return [one] if _is_repeated(field) else one


def _one(field: FieldDescriptor, inside: tuple[str, ...]) -> Any:
    if field.message_type is not None:
        return template(field.message_type, inside)
    if field.enum_type is not None:
        return field.enum_type.values[0].name
    return _SCALARS[field.cpp_type]


def _is_repeated(field: FieldDescriptor) -> bool:
    # Older protobuf has no is_repeated, newer warns of label.
    return isinstance(field.default_value, list)
