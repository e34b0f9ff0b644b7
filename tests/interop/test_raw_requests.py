"""Requests that no gRPC library sends: what a Gyrfalcon server answers, and that it lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from h2.errors import ErrorCodes

import gyrfalcon as gyr
from tests.call.service import Calls, collect, message
from tests.interop.raw import REQUEST_HEAD, RawConnection, frame, raw_client

pytestmark = pytest.mark.anyio

HELLO = message(b"hello").SerializeToString()


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def join(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return message(b"".join(await collect(requests)))


@asynccontextmanager
async def talking(**options: Any) -> AsyncIterator[RawConnection]:
    """A raw connection to a server that echoes."""
    async with gyr.Server([Calls(unary=echo, client_stream=join)], **options) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            yield connection


async def assert_alive(connection: RawConnection) -> None:
    """The connection goes on serving calls."""
    answer = await connection.request(frame(HELLO))
    assert (answer.status, answer.body) == (0, frame(HELLO))


async def test_a_good_request_is_answered_as_the_specification_says() -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO))
        assert answer.head[":status"] == "200"
        assert answer.head["content-type"] == "application/grpc"
        assert answer.body == frame(HELLO)
        assert answer.trailers == {"grpc-status": "0"}
        assert answer.reset is None


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "POSTER", "post"])
async def test_other_methods_than_post_are_405(method: str) -> None:
    async with talking() as connection:
        answer = await connection.request(None, pseudo_method=method)
        assert answer.head[":status"] == "405"
        assert answer.head["allow"] == "POST"
        if method != "HEAD":
            assert answer.body == b"gRPC calls are POST requests\n"
        await assert_alive(connection)


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/json", "application/grp", "application/grpcx", "Application"],
)
async def test_another_content_type_is_415(content_type: str) -> None:
    async with talking() as connection:
        answer = await connection.request(content_type=content_type)
        assert answer.head[":status"] == "415"
        assert answer.head["content-type"].startswith("text/plain")
        assert b"application/grpc" in answer.body
        await assert_alive(connection)


HTML_FORM = [*{**REQUEST_HEAD, "content-type": "application/x-www-form-urlencoded"}.items()]


async def test_a_request_that_is_no_grpc_may_be_sent_to_its_end_after_its_answer() -> None:
    async with talking() as connection:
        stream_id = await connection.open(HTML_FORM, b"a=1", end=False)
        answer = await connection.whole(stream_id)
        connection.h2.send_data(stream_id, b"&b=2", end_stream=True)
        await assert_alive(connection)
        assert (answer.head[":status"], answer.ended, answer.reset) == ("415", True, None)


async def test_a_mistake_in_it_is_one_after_its_answer_too() -> None:
    async with talking() as connection:
        stream_id = await connection.open([*HTML_FORM, ("content-length", "3")], b"a=1", end=False)
        assert (await connection.whole(stream_id)).head[":status"] == "415"
        connection.h2.send_data(stream_id, b"&b=2")
        await connection.flush()
        assert await connection.reset_of(stream_id) == ErrorCodes.PROTOCOL_ERROR
        await assert_alive(connection)


async def test_a_server_that_stops_does_not_wait_for_its_end() -> None:
    async with gyr.Server([Calls(unary=echo)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            stream_id = await connection.open(HTML_FORM, b"a=1", end=False)
            await connection.whole(stream_id)
            stopping = asyncio.create_task(server.stop(grace=3600))
            assert await connection.reset_of(stream_id) == ErrorCodes.NO_ERROR
            await connection.closed_by_peer()
            await stopping


@pytest.mark.parametrize(
    ("content_type", "answered"),
    [
        ("application/grpc+proto", "application/grpc+proto"),
        ("application/grpc;charset=utf-8", "application/grpc"),
        ("application/grpc+proto; v=1", "application/grpc+proto"),
    ],
)
async def test_the_answer_has_the_subtype_of_the_request(content_type: str, answered: str) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), content_type=content_type)
        assert (answer.status, answer.head["content-type"]) == (0, answered)


async def test_a_json_request_is_answered_in_json() -> None:
    async with talking() as connection:
        answer = await connection.request(
            frame(b'"aGVsbG8="'), content_type="application/grpc+json"
        )
        assert (answer.status, answer.body) == (0, frame(b'"aGVsbG8="'))
        assert answer.head["content-type"] == "application/grpc+json"


async def test_a_subtype_without_a_codec_is_unimplemented() -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), content_type="application/grpc+thrift")
        assert answer.status == gyr.StatusCode.UNIMPLEMENTED
        assert "thrift" in answer.text
        await assert_alive(connection)


@pytest.mark.parametrize(
    "path",
    [
        "/tests.Calls/unary",
        "/tests.calls/Unary",
        "/tests.Calls/Unary/",
        "//tests.Calls/Unary",
        "/tests.Calls//Unary",
        "/tests.Calls/./Unary",
        "/tests.Calls/%55nary",
        "/tests.Calls/Unary?x=1",
        "/tests.Calls/",
        "/tests.Calls",
        "/",
        "/Unary",
        "/tests.Calls/Bidi",
        "/tests.Calls/" + "x" * 4000,
    ],
)
async def test_a_path_that_is_not_known_byte_for_byte_is_unimplemented(path: str) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), pseudo_path=path)
        assert answer.status == gyr.StatusCode.UNIMPLEMENTED
        assert path[:100] in unquote(answer.text)
        await assert_alive(connection)


@pytest.mark.parametrize("path", ["*", "tests.Calls/Unary", ""])
async def test_a_path_that_http_forbids_costs_the_stream(path: str) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), pseudo_path=path)
        assert answer.reset == ErrorCodes.PROTOCOL_ERROR
        await assert_alive(connection)


@pytest.mark.parametrize("value", ["1\x00S", "1\nS", "1\rS"])
async def test_a_field_that_http_forbids_costs_the_stream_and_is_not_just_left_out(
    value: str,
) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), grpc_timeout=value)
        assert answer.reset == ErrorCodes.PROTOCOL_ERROR
        await assert_alive(connection)


@pytest.mark.parametrize(
    "timeout",
    ["", "1", "S", "123456789S", "1s", "-1S", "+1S", " 1S", "1S ", "1.5S", "1SS", "0x1S", "1 S"],
)
async def test_a_malformed_timeout_is_internal(timeout: str) -> None:
    async with talking() as connection:
        head = [*REQUEST_HEAD.items(), ("grpc-timeout", timeout)]
        answer = await connection.whole(await connection.open(head, frame(HELLO)))
        assert answer.status == gyr.StatusCode.INTERNAL
        assert "grpc-timeout" in answer.text
        await assert_alive(connection)


@pytest.mark.parametrize("timeout", ["99999999H", "1M", "60S", "60000m", "60000000u", "99999999u"])
async def test_every_unit_of_the_timeout_is_understood(timeout: str) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), grpc_timeout=timeout)
        assert answer.status == gyr.StatusCode.OK


@pytest.mark.parametrize("timeout", ["0S", "0n", "00000000H", "1n"])
async def test_a_timeout_of_nothing_has_passed_before_the_handler_runs(timeout: str) -> None:
    ran = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ran.append(request)
        await asyncio.Event().wait()
        return request

    async with gyr.Server([Calls(unary=note)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            answer = await connection.request(frame(HELLO), grpc_timeout=timeout)
            assert answer.status == gyr.StatusCode.DEADLINE_EXCEEDED
    if timeout != "1n":
        assert ran == []


async def test_an_unknown_encoding_is_unimplemented_and_the_known_ones_are_listed() -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), grpc_encoding="snappy")
        assert answer.status == gyr.StatusCode.UNIMPLEMENTED
        assert answer.head["grpc-accept-encoding"] == "identity,deflate,gzip,zstd"
        assert "snappy" in answer.text
        await assert_alive(connection)


async def test_a_compressed_flag_without_an_encoding_is_internal() -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO, compressed=1))
        assert answer.status == gyr.StatusCode.INTERNAL
        identity = await connection.request(frame(HELLO, compressed=1), grpc_encoding="identity")
        assert identity.status == gyr.StatusCode.INTERNAL
        await assert_alive(connection)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("data", [b"", b"no such thing", b"\x1f\x8b\x08\x00", b"\x78\x9c"])
async def test_corrupt_compressed_data_is_internal(encoding: str, data: bytes) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(data, compressed=1), grpc_encoding=encoding)
        assert answer.status == gyr.StatusCode.INTERNAL
        await assert_alive(connection)


async def test_an_encoding_binds_only_the_messages_with_the_flag() -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO), grpc_encoding="gzip")
        assert (answer.status, answer.body) == (0, frame(HELLO))


@pytest.mark.parametrize("flag", [2, 3, 0x80, 0xFF])
async def test_a_flag_that_is_neither_0_nor_1_is_internal(flag: int) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO, compressed=flag))
        assert answer.status == gyr.StatusCode.INTERNAL
        await assert_alive(connection)


@pytest.mark.parametrize("body", [None, b"", frame(HELLO) * 2, frame(HELLO) * 3])
async def test_a_unary_method_takes_exactly_one_request(body: bytes | None) -> None:
    async with talking() as connection:
        answer = await connection.request(body)
        assert answer.status == gyr.StatusCode.UNIMPLEMENTED
        assert "one request" in answer.text
        await assert_alive(connection)


@pytest.mark.parametrize("kept", [1, 4, 5, 6, -1])
@pytest.mark.parametrize("path", ["/tests.Calls/Unary", "/tests.Calls/ClientStream"])
async def test_a_request_that_is_cut_is_internal(path: str, kept: int) -> None:
    async with talking() as connection:
        answer = await connection.request(frame(HELLO)[:kept], pseudo_path=path)
        assert answer.status == gyr.StatusCode.INTERNAL
        await assert_alive(connection)


async def test_whole_messages_before_a_cut_one_do_not_make_the_call_good() -> None:
    async with talking() as connection:
        answer = await connection.request(
            frame(HELLO) + frame(HELLO)[:7], pseudo_path="/tests.Calls/ClientStream"
        )
        assert answer.status == gyr.StatusCode.INTERNAL


async def test_a_length_over_the_limit_is_refused_before_the_message_has_come() -> None:
    async with talking(max_receive_bytes=1000) as connection:
        stream_id = await connection.open(
            REQUEST_HEAD.items(), b"\x00" + (1001).to_bytes(4, "big"), end=False
        )
        answer = await connection.whole(stream_id)
        assert answer.status == gyr.StatusCode.RESOURCE_EXHAUSTED
        assert "1001" in answer.text
        assert "1000" in answer.text
        assert await connection.reset_of(stream_id) == 0
        await assert_alive(connection)


@pytest.mark.parametrize("text", [" x ", " ", "x  "])
async def test_blanks_at_the_ends_of_a_status_text_are_escaped(text: str) -> None:
    async def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.NotFound(text)

    async with gyr.Server([Calls(unary=fail)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            answer = await connection.request(frame(HELLO))
            # A field value does not begin or end with a blank (RFC 9113 8.2.1).
            assert answer.text == answer.text.strip()
            assert unquote(answer.text) == text


# "-bin" alone is a key too.
@pytest.mark.parametrize("key", ["trace-bin", "-bin"])
@pytest.mark.parametrize("value", ["!", "a", "aaaaa", "Zm9v!", "Zm9v,a", "Zm=9v"])
async def test_a_binary_value_that_is_no_base64_is_internal(key: str, value: str) -> None:
    async with talking() as connection:
        head = [*REQUEST_HEAD.items(), (key, value)]
        answer = await connection.whole(await connection.open(head, frame(HELLO)))
        assert answer.status == gyr.StatusCode.INTERNAL
        await assert_alive(connection)


async def test_binary_values_come_padded_unpadded_and_joined_by_commas() -> None:
    seen = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.extend(ctx.metadata.get_all("trace-bin"))
        return request

    async with gyr.Server([Calls(unary=note)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            values = ["Zg==", "Zg", "Zm8=", "Zm8", "Zm9v", "", "Zg==,Zm8,Zm9v", "Zg, Zm8="]
            head = [*REQUEST_HEAD.items(), *(("trace-bin", value) for value in values)]
            answer = await connection.whole(await connection.open(head, frame(HELLO)))
            assert answer.status == 0
    assert seen == [b"f", b"f", b"fo", b"fo", b"foo", b"", b"f", b"fo", b"foo", b"f", b"fo"]


@pytest.mark.parametrize("size", [17_000, 60_000])
async def test_metadata_over_the_limit_costs_the_call_and_not_the_connection(size: int) -> None:
    async with talking() as connection:
        head = [*REQUEST_HEAD.items()]
        head += [(f"x-{number}", "v" * 1000) for number in range(size // 1000)]
        answer = await connection.whole(await connection.open(head, frame(HELLO)))
        assert answer.status == gyr.StatusCode.RESOURCE_EXHAUSTED
        await assert_alive(connection)


async def test_metadata_far_over_the_limit_costs_the_stream_and_not_the_connection() -> None:
    async with talking(max_metadata_bytes=2048) as connection:
        head = [*REQUEST_HEAD.items(), *((f"x-{number}", "v" * 1000) for number in range(30))]
        answer = await connection.whole(await connection.open(head, frame(HELLO)))
        assert answer.reset is not None or answer.status == gyr.StatusCode.RESOURCE_EXHAUSTED
        await assert_alive(connection)


async def test_reserved_fields_of_the_request_are_not_metadata() -> None:
    seen = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.extend(ctx.metadata.items())
        return request

    async with gyr.Server([Calls(unary=note)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            answer = await connection.request(
                frame(HELLO),
                grpc_timeout="1H",
                grpc_encoding="identity",
                grpc_accept_encoding="gzip",
                user_agent="raw/1",
                tenant="eu",
            )
            assert answer.status == 0
    assert seen == [("user-agent", "raw/1"), ("tenant", "eu")]


async def test_bytes_after_the_answer_are_dropped_and_the_connection_lives() -> None:
    async with talking(max_receive_bytes=10) as connection:
        stream_id = await connection.open(REQUEST_HEAD.items(), b"\x00\x00\x00\x00\x0b", end=False)
        connection.h2.send_data(stream_id, b"x" * 16000, end_stream=False)
        await connection.flush()
        assert (await connection.whole(stream_id)).status == gyr.StatusCode.RESOURCE_EXHAUSTED
        await assert_alive(connection)


async def test_trailers_of_a_request_are_taken_for_its_end() -> None:
    async with talking() as connection:
        stream_id = await connection.open(REQUEST_HEAD.items(), frame(HELLO), end=False)
        connection.h2.send_headers(stream_id, [("x-checksum", "1")], end_stream=True)
        await connection.flush()
        answer = await connection.whole(stream_id)
        assert (answer.status, answer.body) == (0, frame(HELLO))
