"""Messages as lines of JSON, and back, by protobuf's JSON mapping."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from .failures import Failure, WrongUse
from .schema import Schema

_ANY = "google.protobuf.Any"
_ANY_TYPE = re.compile(r'"@type"\s*:\s*"([^"\\]*)"')
_NO_FIELD = re.compile(
    r'(?:.*: )?Message type "(?P<type>[^"]+)" has no field named "(?P<name>[^"]*)" at '
    r'"[^"]*"\.\n Available Fields\(except extensions\): "\[(?P<fields>[^]]*)\]"\.?',
    re.DOTALL,
)
# These have a form of their own in JSON, which need not be an object.
_WELL_KNOWN = "google.protobuf."


class JsonText:
    """Writes and reads messages; what a google.protobuf.Any holds is looked up in the schema."""

    def __init__(self, schema: Schema, *, emit_defaults: bool = False) -> None:
        self._schema = schema
        self._emit_defaults = emit_defaults
        self._unknown: set[str] = set()

    # ------------------------------------------------------------------ writing

    async def write(self, message: Message) -> str:
        """One line of JSON. Raises Failure for a message that JSON has no form for."""
        try:
            if self._unknown:
                await self._resolve(message)
            try:
                return self._write(message)
            except TypeError:  # a type that is not in the pool
                await self._resolve(message)
                return self._write(message)
        except (TypeError, ValueError, DecodeError) as error:
            name = message.DESCRIPTOR.full_name
            raise Failure(f"a message of type {name} cannot be written as JSON: {error}") from None

    def _write(self, message: Message) -> str:
        return MessageToJson(
            message,
            indent=None,
            ensure_ascii=False,
            descriptor_pool=self._schema.pool,
            always_print_fields_with_no_presence=self._emit_defaults,
        )

    async def _resolve(self, message: Message) -> None:
        """Make known what every Any in a message holds; nobody knows: its bytes are shown."""
        if message.DESCRIPTOR.full_name != _ANY:
            for part in _parts(message):
                await self._resolve(part)
            return
        packed: Any = message
        name = packed.type_url.rpartition("/")[2]
        if not name:
            return
        if name in self._unknown or not await self._schema.know(name):
            packed.value = self._placeholder(name)(value=packed.value).SerializeToString()
            return
        inner = self._class(name).FromString(packed.value)
        await self._resolve(inner)
        packed.value = inner.SerializeToString()

    def _class(self, name: str) -> Any:
        return GetMessageClass(self._schema.pool.FindMessageTypeByName(name))

    def _placeholder(self, name: str) -> Any:
        """A message type of this name whose JSON is {"@value": the bytes in base64}."""
        if name not in self._unknown:
            self._unknown.add(name)
            package, _, last = name.rpartition(".")
            file = FileDescriptorProto(name=f"unknown/{name}", package=package, syntax="proto3")
            file.message_type.add(name=last).field.add(
                name="value",
                number=1,
                type=FieldDescriptorProto.TYPE_BYTES,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
                json_name="@value",
            )
            self._schema.pool.AddSerializedFile(file.SerializeToString())
        return self._class(name)

    # ------------------------------------------------------------------ reading

    async def read(self, text: str, message_type: Descriptor, where: str) -> Any:
        """The message that a JSON document stands for; `where` says where it stood.

        Raises WrongUse for what is no JSON, or not that of such a message.
        """
        name = message_type.full_name
        if not text.startswith("{") and not name.startswith(_WELL_KNOWN):
            kind = type(json.loads(text)).__name__
            raise WrongUse(
                f"{where}: {name} is written as a JSON object in braces, and this is a {kind}",
                f"gyr describe --template shows a {name}",
            )
        for url in dict.fromkeys(_ANY_TYPE.findall(text)):
            await self._schema.know(url.rpartition("/")[2])
        try:
            return Parse(text, GetMessageClass(message_type)(), descriptor_pool=self._schema.pool)
        except (ParseError, RecursionError) as error:
            raise WrongUse(f"{where}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What is wrong, in fewer words than json_format's."""
    text = str(error)
    if found := _NO_FIELD.fullmatch(text):
        fields = found["fields"].replace("'", "") or "none"
        return f"{found['type']} has no field {found['name']!r}; its fields: {fields}"
    return text


def _parts(message: Message) -> Iterator[Message]:
    """The messages that are the values of its fields."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, Message):
            yield value
        elif not field.message_type.GetOptions().map_entry:
            yield from value
        elif field.message_type.fields_by_name["value"].message_type is not None:
            yield from value.values()
