"""Codecs and their registry."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from gyrfalcon.rpc import (
    CODECS,
    JSON,
    PROTOBUF,
    RAW,
    Codec,
    CodecRegistry,
    Method,
    Pattern,
    RawCodec,
)


@pytest.mark.parametrize("codec", [PROTOBUF, JSON])
def test_messages_go_through_bytes(codec: Codec) -> None:
    message = Struct(fields={"name": {"string_value": "Zürich"}})  # type: ignore[dict-item]
    data = codec.encoder(Struct)(message)
    assert type(data) is bytes
    assert codec.decoder(Struct)(data) == message


def test_protobuf_uses_the_methods_of_the_message_class() -> None:
    assert PROTOBUF.name == "proto"
    assert PROTOBUF.encoder(StringValue)(StringValue(value="x")) == b"\x0a\x01x"
    with pytest.raises(DecodeError):
        PROTOBUF.decoder(StringValue)(b"\x0a\x05x")


def test_protobuf_refuses_what_is_not_a_message() -> None:
    with pytest.raises(TypeError):
        PROTOBUF.encoder(StringValue)("x")  # type: ignore[arg-type]


def test_json_is_utf8_on_one_line() -> None:
    assert JSON.name == "json"
    data = JSON.encoder(Struct)(Struct(fields={"a": {"string_value": "ü"}}))  # type: ignore[dict-item]
    assert json.loads(data) == {"a": "ü"}
    assert b"\n" not in data
    assert "ü".encode() in data


def test_json_ignores_unknown_fields_and_refuses_damage() -> None:
    from google.protobuf.json_format import ParseError
    from google.protobuf.type_pb2 import Option

    decode = JSON.decoder(Option)
    assert decode(b'{"name": "x", "later": [1]}') == Option(name="x")
    with pytest.raises(ParseError):
        decode(b'{"name": ')


def test_raw_passes_bytes_through() -> None:
    data = b"\x00\xff"
    assert RAW.name == "proto"
    assert RAW.encoder(bytes)(data) is data
    assert RAW.decoder(bytes)(data) is data
    with pytest.raises(TypeError, match="a raw message is str: pass bytes"):
        RAW.encoder(bytes)("text")  # type: ignore[arg-type]
    assert RawCodec("proto") == RAW
    assert hash(RawCodec("proto")) == hash(RAW)
    assert RawCodec("x") != RAW
    assert RAW != "proto"


def test_registry_finds_by_content_subtype() -> None:
    assert CODECS.names() == ("proto", "json")
    assert CODECS.get("json") is JSON
    assert CODECS.get("JSON") is JSON
    assert CODECS.get("proto") is PROTOBUF
    assert CODECS.get("") is PROTOBUF
    assert CODECS.get("thrift") is None


def test_registry_takes_codecs_of_others() -> None:
    class Thrift(RawCodec):
        pass

    codecs = CodecRegistry(PROTOBUF)
    thrift = Thrift("thrift")
    codecs.register(thrift)
    assert isinstance(thrift, Codec)
    assert codecs.get("thrift") is thrift
    assert codecs.names() == ("proto", "thrift")


class Named:
    """A codec with a name that nobody has looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    encoder = PROTOBUF.encoder
    decoder = PROTOBUF.decoder


@pytest.mark.parametrize("name", ["", "a b", "A", "proto;x", "a+b", "ü", "a\r\n"])
def test_a_name_that_cannot_be_a_content_subtype_is_refused(name: str) -> None:
    makers = (
        lambda: CodecRegistry(Named(name)),
        lambda: RawCodec(name),
        lambda: CODECS.choose(Named(name)),
        lambda: Method("s", "m", "m", Pattern.UNARY_UNARY, StringValue, StringValue, Named(name)),
    )
    for make in makers:
        with pytest.raises(ValueError, match="cannot be a content-subtype"):
            make()


@pytest.mark.parametrize("wrong", [7, object(), StringValue])
def test_what_is_no_codec_is_refused(wrong: Any) -> None:
    makers = (
        lambda: CODECS.register(wrong),
        lambda: CODECS.choose(wrong),
        lambda: Method("s", "m", "m", Pattern.UNARY_UNARY, StringValue, StringValue, wrong),
    )
    for make in makers:
        with pytest.raises(TypeError, match="a codec has name, encoder and decoder"):
            make()


def test_registry_chooses_by_name_object_or_none() -> None:
    assert CODECS.choose(None) is None
    assert CODECS.choose("json") is JSON
    assert CODECS.choose(RAW) is RAW
    with pytest.raises(ValueError, match="codec 'thrift' is not known: use one of proto, json, or"):
        CODECS.choose("thrift")


@pytest.mark.parametrize("codec", [PROTOBUF, JSON])
def test_protobufs_codecs_refuse_types_that_are_no_messages(codec: Codec) -> None:
    for make in (codec.encoder, codec.decoder):
        with pytest.raises(TypeError, match="dict is no protobuf message class"):
            make(dict)


def test_importing_does_not_load_json_or_rich_status() -> None:
    program = (
        "import sys, gyrfalcon.rpc;"
        "print([m for m in ('google.protobuf.json_format', 'gyrfalcon.rpc.rich_status', 'asyncio',"
        " 'threading') if m in sys.modules and m.startswith(('google', 'gyrfalcon.rpc'))])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stderr, run.stdout.strip()) == ("", "[]")
