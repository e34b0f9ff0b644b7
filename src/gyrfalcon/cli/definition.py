"""Definitions as .proto source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

# One more than the highest field number: the end of ranges "to max".
_NUMBERS_END = 2**29
_INDENT = "  "

_Path = tuple[int, ...]


class _Item(NamedTuple):
    proto: Any
    path: _Path
    """Where it stands in its file (`SourceCodeInfo.Location.path`)."""
    source: _Source


class Definitions:
    """Writes what files define. Comments are there when the files have them, as from protoc."""

    def __init__(self, files: Mapping[str, FileDescriptorProto]) -> None:
        self._items: dict[str, _Item] = {}
        for file in files.values():
            source = _Source(file)
            for name, proto, path in _walk(file):
                self._items[name] = _Item(proto, path, source)

    def write(self, name: str) -> str:
        """The source of what has this full name, headed by the name and its file."""
        item = self._items[name]
        title = f"// {name}, in {item.source.file.name}"
        return "\n".join([title, *item.source.write(item.proto, item.path)])


def _walk(file: FileDescriptorProto) -> Iterator[tuple[str, Any, _Path]]:
    """Everything in a file that has a full name: the name, the declaration, its path."""
    package = f"{file.package}." if file.package else ""
    for i, service in enumerate(file.service):
        path: _Path = (FileDescriptorProto.SERVICE_FIELD_NUMBER, i)
        yield package + service.name, service, path
        for j, method in enumerate(service.method):
            name = f"{package}{service.name}.{method.name}"
            yield name, method, (*path, ServiceDescriptorProto.METHOD_FIELD_NUMBER, j)
    for i, enum in enumerate(file.enum_type):
        yield package + enum.name, enum, (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, i)
    for i, extension in enumerate(file.extension):
        yield package + extension.name, extension, (FileDescriptorProto.EXTENSION_FIELD_NUMBER, i)
    for i, message in enumerate(file.message_type):
        path = (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, i)
        yield from _walk_message(message, package, path)


def _walk_message(
    message: DescriptorProto, scope: str, path: _Path
) -> Iterator[tuple[str, Any, _Path]]:
    yield scope + message.name, message, path
    scope = f"{scope}{message.name}."
    for i, enum in enumerate(message.enum_type):
        yield scope + enum.name, enum, (*path, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, i)
    for i, extension in enumerate(message.extension):
        yield scope + extension.name, extension, (*path, DescriptorProto.EXTENSION_FIELD_NUMBER, i)
    for i, nested in enumerate(message.nested_type):
        yield from _walk_message(
            nested, scope, (*path, DescriptorProto.NESTED_TYPE_FIELD_NUMBER, i)
        )


class _Source:
    """The source of the declarations of one file, as lines."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self._comments = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in file.source_code_info.location
        }

    def write(self, proto: Any, path: _Path) -> list[str]:
        """The lines of a declaration, its comment first."""
        match proto:
            case ServiceDescriptorProto():
                lines = self._service(proto, path)
            case MethodDescriptorProto():
                lines = self._method(proto)
            case DescriptorProto():
                lines = self._message(proto, path)
            case EnumDescriptorProto():
                lines = self._enum(proto, path)
            case EnumValueDescriptorProto():
                lines = [f"{proto.name} = {proto.number}{_options(proto)};"]
            case FieldDescriptorProto() if proto.extendee:
                lines = [f"extend {_name(proto.extendee)} {{", _INDENT + self._field(proto), "}"]
            case _:
                lines = [self._field(proto)]
        return [*self._comment(path), *lines]

    def _comment(self, path: _Path) -> list[str]:
        text = self._comments.get(path, "").rstrip()
        return [f"// {line.strip()}".rstrip() for line in text.split("\n")] if text else []

    def _block(self, head: str, lines: Sequence[str]) -> list[str]:
        if not lines:
            return [f"{head} {{}}"]
        return [f"{head} {{", *(_INDENT + line for line in lines), "}"]

    def _service(self, service: ServiceDescriptorProto, path: _Path) -> list[str]:
        lines = _deprecated(service)
        for i, method in enumerate(service.method):
            lines += self.write(method, (*path, ServiceDescriptorProto.METHOD_FIELD_NUMBER, i))
        return self._block(f"service {service.name}", lines)

    def _method(self, method: MethodDescriptorProto) -> list[str]:
        taken = "stream " * method.client_streaming + _name(method.input_type)
        given = "stream " * method.server_streaming + _name(method.output_type)
        head = f"rpc {method.name} ({taken}) returns ({given})"
        lines = _deprecated(method)
        return self._block(head, lines) if lines else [f"{head};"]

    def _enum(self, enum: EnumDescriptorProto, path: _Path) -> list[str]:
        lines = _deprecated(enum)
        if enum.options.allow_alias:
            lines.append("option allow_alias = true;")
        for i, value in enumerate(enum.value):
            lines += self.write(value, (*path, EnumDescriptorProto.VALUE_FIELD_NUMBER, i))
        # The ranges of enums include their ends.
        ranges = [(one.start, one.end + 1) for one in enum.reserved_range]
        lines += _reserved(ranges, list(enum.reserved_name), 2**31)
        return self._block(f"enum {enum.name}", lines)

    def _message(self, message: DescriptorProto, path: _Path) -> list[str]:
        lines = _deprecated(message)
        for i, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                lines += self.write(nested, (*path, DescriptorProto.NESTED_TYPE_FIELD_NUMBER, i))
        for i, enum in enumerate(message.enum_type):
            lines += self.write(enum, (*path, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, i))
        lines += self._fields(message, path)
        for i, extension in enumerate(message.extension):
            lines += self.write(extension, (*path, DescriptorProto.EXTENSION_FIELD_NUMBER, i))
        for extensions in message.extension_range:
            text = _range(extensions.start, extensions.end, _NUMBERS_END)
            lines.append(f"extensions {text};")
        ranges = [(one.start, one.end) for one in message.reserved_range]
        lines += _reserved(ranges, list(message.reserved_name), _NUMBERS_END)
        return self._block(f"message {message.name}", lines)

    def _fields(self, message: DescriptorProto, path: _Path) -> list[str]:
        """The fields in their order, those of a oneof together."""
        maps = {one.name: one for one in message.nested_type if one.options.map_entry}
        lines: list[str] = []
        oneofs: dict[int, list[str]] = {}
        for i, field in enumerate(message.field):
            at = (*path, DescriptorProto.FIELD_FIELD_NUMBER, i)
            written = [*self._comment(at), self._field(field, maps)]
            if not field.HasField("oneof_index") or field.proto3_optional:
                lines += written
            elif field.oneof_index in oneofs:
                oneofs[field.oneof_index] += written
            else:
                oneofs[field.oneof_index] = written
                lines.append(f"\0{field.oneof_index}")
        return list(self._with_oneofs(lines, oneofs, message, path))

    def _with_oneofs(
        self,
        lines: Sequence[str],
        oneofs: Mapping[int, list[str]],
        message: DescriptorProto,
        path: _Path,
    ) -> Iterator[str]:
        for line in lines:
            if not line.startswith("\0"):
                yield line
                continue
            index = int(line[1:])
            yield from self._comment((*path, DescriptorProto.ONEOF_DECL_FIELD_NUMBER, index))
            yield from self._block(f"oneof {message.oneof_decl[index].name}", oneofs[index])

    def _field(
        self, field: FieldDescriptorProto, maps: Mapping[str, DescriptorProto] | None = None
    ) -> str:
        entry = (maps or {}).get(field.type_name.rpartition(".")[2])
        if entry is not None and field.label == FieldDescriptorProto.LABEL_REPEATED:
            key, value = entry.field
            kind = f"map<{_type(key)}, {_type(value)}>"
        else:
            kind = self._label(field) + _type(field)
        return f"{kind} {field.name} = {field.number}{_options(field)};"

    def _label(self, field: FieldDescriptorProto) -> str:
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return "repeated "
        if field.label == FieldDescriptorProto.LABEL_REQUIRED:
            return "required "
        proto2 = self.file.syntax in ("", "proto2") and not field.HasField("oneof_index")
        return "optional " if proto2 or field.proto3_optional else ""


def _name(type_name: str) -> str:
    return type_name.removeprefix(".")


def _type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        group = field.type == FieldDescriptorProto.TYPE_GROUP
        return ("group " if group else "") + _name(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _options(proto: FieldDescriptorProto | EnumValueDescriptorProto) -> str:
    """What stands in brackets behind a field or an enum value."""
    found = []
    if isinstance(proto, FieldDescriptorProto):
        if proto.HasField("default_value"):
            quoted = proto.type in (FieldDescriptorProto.TYPE_STRING,)
            value = json.dumps(proto.default_value) if quoted else proto.default_value
            if proto.type == FieldDescriptorProto.TYPE_BYTES:
                value = f'"{proto.default_value}"'  # escaped already
            found.append(f"default = {value}")
        if proto.json_name and proto.json_name != _json_name(proto.name):
            found.append(f"json_name = {json.dumps(proto.json_name)}")
        if proto.options.HasField("packed"):
            found.append(f"packed = {str(proto.options.packed).lower()}")
    if proto.options.deprecated:
        found.append("deprecated = true")
    return f" [{', '.join(found)}]" if found else ""


def _json_name(name: str) -> str:
    """The JSON name that a field gets unless it has one of its own."""
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _deprecated(
    proto: ServiceDescriptorProto | MethodDescriptorProto | DescriptorProto | EnumDescriptorProto,
) -> list[str]:
    return ["option deprecated = true;"] if proto.options.deprecated else []


def _range(start: int, end: int, numbers_end: int) -> str:
    if end - start == 1:
        return str(start)
    return f"{start} to {'max' if end >= numbers_end else end - 1}"


def _reserved(
    ranges: Sequence[tuple[int, int]], names: Sequence[str], numbers_end: int
) -> list[str]:
    lines = []
    if ranges:
        written = ", ".join(_range(start, end, numbers_end) for start, end in ranges)
        lines.append(f"reserved {written};")
    if names:
        lines.append(f"reserved {', '.join(json.dumps(name) for name in names)};")
    return lines
