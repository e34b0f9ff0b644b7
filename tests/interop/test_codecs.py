"""Codecs by content-subtype, as stock HTTP/2 clients and servers see them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import pytest
from google.protobuf.struct_pb2 import Struct

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S
from tests.interop.raw import RawConnection, frame, raw_client, raw_server

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


class DataclassJson:
    """Dataclasses as JSON: nothing of protobuf."""

    name = "dataclass-json"

    def encoder(self, message_type: type[T], /) -> Callable[[T], bytes]:
        def encode(message: Any) -> bytes:
            return json.dumps(asdict(message)).encode()

        return encode

    def decoder(self, message_type: type[T], /) -> Callable[[bytes], T]:
        def decode(data: bytes) -> T:
            return message_type(**json.loads(data))

        return decode


def make_methods(
    kind: Any, codec: gyr.Codec = gyr.PROTOBUF
) -> tuple[gyr.Method[Any, Any], gyr.Method[Any, Any]]:
    return (
        gyr.Method("tests.Codecs", "One", "one", gyr.Pattern.UNARY_UNARY, kind, kind, codec),
        gyr.Method("tests.Codecs", "Many", "many", gyr.Pattern.STREAM_STREAM, kind, kind, codec),
    )


class Echo(gyr.Service):
    """Sends back what came, of whatever type, and keeps it."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def one(self, request: Any, ctx: gyr.ServerContext) -> Any:
        self.seen.append(request)
        return request

    async def many(
        self, requests: AsyncIterator[Any], ctx: gyr.ServerContext
    ) -> AsyncIterator[Any]:
        async for request in requests:
            self.seen.append(request)
            yield request


PROTO = make_methods(Struct)
POINTS = make_methods(Point, DataclassJson())
BYTES = make_methods(bytes, gyr.RAW)


def echo_of(methods: tuple[gyr.Method[Any, Any], ...]) -> Echo:
    definition = gyr.ServiceDefinition("tests.Codecs", methods)
    base = type("Defined", (gyr.Service,), {"__gyr_service__": definition})
    made: Echo = type("Served", (Echo, base), {})()
    return made


@asynccontextmanager
async def serving(*methods: gyr.Method[Any, Any]) -> AsyncIterator[tuple[int, Echo]]:
    echo = echo_of(methods)
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([echo]) as server:
        yield await server.listen("127.0.0.1:0"), echo


@asynccontextmanager
async def talking(*methods: gyr.Method[Any, Any]) -> AsyncIterator[tuple[RawConnection, Echo]]:
    async with serving(*methods) as (port, echo), raw_client(port) as connection:
        yield connection, echo


# ---------------------------------------------------------------------- a server of ours


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc+json", "application/grpc+JSON", "application/grpc+json; charset=utf-8"],
)
async def test_a_json_body_calls_a_method_and_gets_a_json_body(content_type: str) -> None:
    async with talking(*PROTO) as (connection, echo):
        answer = await connection.request(
            frame('{ "city": "Zürich",\n "size": 4e5 }'.encode()),
            pseudo_path="/tests.Codecs/One",
            content_type=content_type,
        )
        assert (answer.status, answer.head["content-type"]) == (0, "application/grpc+json")
        assert json.loads(answer.body[5:]) == {"city": "Zürich", "size": 400_000}
        assert answer.body[:5] == bytes([0]) + len(answer.body[5:]).to_bytes(4, "big")
    (request,) = echo.seen
    assert (type(request), request["city"]) == (Struct, "Zürich")


async def test_a_stream_of_json_bodies_gets_one() -> None:
    async with talking(*PROTO) as (connection, _):
        answer = await connection.request(
            frame(b'{"n": 1}') + frame(b'{"n": 2}'),
            pseudo_path="/tests.Codecs/Many",
            content_type="application/grpc+json",
        )
        assert (answer.status, answer.body) == (0, frame(b'{"n": 1.0}') + frame(b'{"n": 2.0}'))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"a": }', b"\xff", b"[" * 10_000])
async def test_a_body_that_is_no_json_fails_its_call_alone(body: bytes) -> None:
    async with talking(*PROTO) as (connection, echo):
        answer = await connection.request(
            frame(body), pseudo_path="/tests.Codecs/One", content_type="application/grpc+json"
        )
        assert answer.status == gyr.StatusCode.INTERNAL
        assert echo.seen == []
        good = await connection.request(
            frame(b"{}"), pseudo_path="/tests.Codecs/One", content_type="application/grpc+json"
        )
        assert (good.status, good.body) == (0, frame(b"{}"))


@pytest.mark.parametrize("subtype", ["", "+proto", "+dataclass-json"])
async def test_the_methods_own_codec_answers_to_its_name_and_to_none(subtype: str) -> None:
    methods = POINTS if subtype != "+proto" else PROTO
    body = b'{"x": 1, "y": 2}' if methods is POINTS else b""
    async with talking(*methods) as (connection, _):
        answer = await connection.request(
            frame(body),
            pseudo_path="/tests.Codecs/One",
            content_type=f"application/grpc{subtype}",
        )
        assert (answer.status, answer.body) == (0, frame(body))
        assert answer.head["content-type"] == f"application/grpc{subtype}"


@pytest.mark.parametrize("methods", [POINTS, BYTES], ids=["dataclasses", "bytes"])
@pytest.mark.parametrize("subtype", ["json", "proto", "no-such", "x" * 5000, "json proto", "%0a"])
async def test_a_codec_for_other_messages_is_unimplemented(
    methods: tuple[gyr.Method[Any, Any], ...], subtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    if methods is BYTES and subtype == "proto":
        subtype = "proto2"  # raw bytes are sent under this very name
    async with talking(*methods) as (connection, echo):
        answer = await connection.request(
            frame(b"{}"),
            pseudo_path="/tests.Codecs/One",
            content_type=f"application/grpc+{subtype}",
        )
        assert answer.status == gyr.StatusCode.UNIMPLEMENTED
        assert answer.head["content-type"] == "application/grpc"
        assert answer.text.startswith("there is no codec for application/grpc+")
        assert echo.seen == []
    assert caplog.records == []


CURL = shutil.which("curl")


@pytest.mark.skipif(CURL is None, reason="there is no curl here")
async def test_curl_calls_a_method_with_a_json_body() -> None:
    assert CURL is not None
    async with serving(*PROTO) as (port, echo):
        curl = await asyncio.create_subprocess_exec(
            *(CURL, "--silent", "--show-error", "--http2-prior-knowledge", "--include"),
            *("--header", "content-type: application/grpc+json", "--header", "te: trailers"),
            *("--data-binary", "@-", f"http://127.0.0.1:{port}/tests.Codecs/One"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await curl.communicate(frame(b'{"name": "Emma"}'))
    assert (errors, curl.returncode) == (b"", 0)
    assert output.startswith(b"HTTP/2 200")
    assert frame(b'{"name": "Emma"}') in output
    assert [request["name"] for request in echo.seen] == ["Emma"]


# ---------------------------------------------------------------------- a channel of ours


@pytest.mark.parametrize("codec", ["json", gyr.JSON])
async def test_a_channels_codec_is_that_of_methods_without_one(codec: gyr.Codec | str) -> None:
    async with (
        raw_server() as server,
        gyr.Channel(f"127.0.0.1:{server.port}", codec=codec) as channel,
    ):
        call = gyr.UnaryUnary(channel, PROTO[0])(Struct())
        peer = await server.accept()
        request = await peer.whole_request()
        assert request.head["content-type"] == "application/grpc+json"
        assert request.body == frame(b"{}")
        await peer.respond(
            request.stream_id, frame(b'{"a": null}'), content_type="application/grpc+json"
        )
        assert (await call)["a"] is None

        other = gyr.UnaryUnary(channel, POINTS[0])(Point(1))
        request = await peer.whole_request()
        assert request.head["content-type"] == "application/grpc+dataclass-json"
        await peer.respond(request.stream_id, frame(b'{"x": 7}'))
        assert await other == Point(7)


@pytest.mark.parametrize("methods", [PROTO, POINTS, BYTES], ids=["proto", "dataclasses", "bytes"])
@pytest.mark.parametrize("codec", [None, "json"])
async def test_messages_of_every_codec_go_both_ways(
    methods: tuple[gyr.Method[Any, Any], ...], codec: str | None
) -> None:
    structs = [Struct(), Struct()]
    structs[1]["a"] = [1, "b", None]
    examples: dict[Any, list[Any]] = {
        PROTO: structs,
        POINTS: [Point(1, 2), Point(-3)],
        BYTES: [b"", b"\x00\xff" * 100_000],
    }
    messages = examples[methods]
    async with (
        serving(*methods) as (port, echo),
        gyr.Channel(f"127.0.0.1:{port}", codec=codec) as channel,
    ):
        assert await gyr.UnaryUnary(channel, methods[0])(messages[1]) == messages[1]
        replies = gyr.StreamStream(channel, methods[1])(messages)
        assert [reply async for reply in replies] == messages
    assert echo.seen == [messages[1], *messages]


async def test_a_message_of_another_type_is_refused_where_it_is_sent() -> None:
    async with serving(*POINTS) as (port, _), gyr.Channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(TypeError, match="One takes Point, not dict"):
            gyr.UnaryUnary(channel, POINTS[0])({"x": 1})


async def test_a_reply_that_cannot_be_decoded_is_internal() -> None:
    async with serving(*BYTES) as (port, _), gyr.Channel(f"127.0.0.1:{port}") as channel:
        method = gyr.Method(
            "tests.Codecs", "One", "one", gyr.Pattern.UNARY_UNARY, bytes, Point, Mixed()
        )
        with pytest.raises(gyr.Internal, match="a reply is no Point"):
            await gyr.UnaryUnary(channel, method)(b"no json")


class Mixed(DataclassJson):
    """Bytes are sent as they are, and what comes is read as JSON."""

    name = "proto"

    def encoder(self, message_type: type[T], /) -> Callable[[T], bytes]:
        return gyr.RAW.encoder(message_type)


async def test_what_is_no_codec_is_refused_by_the_channel() -> None:
    with pytest.raises(ValueError, match="codec 'thrift' is not known: use one of proto, json"):
        gyr.Channel("127.0.0.1:1", codec="thrift")
    with pytest.raises(TypeError, match="a codec has name, encoder and decoder"):
        gyr.Channel("127.0.0.1:1", codec=7)  # type: ignore[arg-type]


def test_a_method_needs_a_codec_for_its_types() -> None:
    with pytest.raises(TypeError, match="Point is no protobuf message class"):
        gyr.Server([echo_of(make_methods(Point))])
