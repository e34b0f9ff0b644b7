"""Responses that no gRPC library sends, to a Gyrfalcon client: what its caller gets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from h2.errors import ErrorCodes

import gyrfalcon as gyr
from gyrfalcon.rpc.rich_status import encode_details
from tests.call.service import Stub, collect, collect_failing, message
from tests.interop.raw import RawConnection, RawServer, frame, raw_server

pytestmark = pytest.mark.anyio

HELLO = message(b"hello").SerializeToString()


@asynccontextmanager
async def raw_peer(**options: Any) -> AsyncIterator[tuple[RawServer, Stub]]:
    """A raw server, and a stub of a channel to it."""
    async with (
        raw_server() as server,
        gyr.Channel(f"127.0.0.1:{server.port}", **options) as channel,
    ):
        yield server, Stub(channel)


@asynccontextmanager
async def answering(
    **options: Any,
) -> AsyncIterator[tuple[RawConnection, int, gyr.UnaryUnaryCall[Any]]]:
    """A unary call whose request has come: its connection, its stream and the call."""
    async with raw_peer(**options) as (server, stub):
        call = stub.unary(message(b"request"))
        peer = await server.accept()
        request = await peer.whole_request()
        yield peer, request.stream_id, call


async def failure(call: gyr.UnaryUnaryCall[Any]) -> gyr.RpcError:
    """What awaiting the call raises; its status says the same."""
    with pytest.raises(gyr.RpcError) as caught:
        await call
    status = await call.status()
    assert (status.code, status.message) == (caught.value.code, caught.value.message)
    return caught.value


async def test_the_request_is_as_the_specification_says() -> None:
    async with raw_peer(user_agent="shop/7", authority="shop.example") as (server, stub):
        call = stub.unary(message(b"hello"), timeout=3600, metadata={"tenant": "eu"})
        peer = await server.accept()
        request = await peer.whole_request()
        agent = request.head.pop("user-agent")
        timeout = request.head.pop("grpc-timeout")
        assert request.head == {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/tests.Calls/Unary",
            ":authority": "shop.example",
            "te": "trailers",
            "content-type": "application/grpc",
            "grpc-accept-encoding": "identity,deflate,gzip,zstd",
            "tenant": "eu",
        }
        assert agent.startswith(f"shop/7 gyrfalcon/{gyr.__version__}")
        assert 0 < int(timeout[:-1]) < 10**8
        assert timeout[-1] in "HMSmun"
        assert request.body == frame(HELLO)
        await peer.respond(request.stream_id, frame(HELLO))
        assert (await call).value == b"hello"


@pytest.mark.parametrize(
    ("http", "code"),
    [
        ("400", gyr.StatusCode.INTERNAL),
        ("401", gyr.StatusCode.UNAUTHENTICATED),
        ("403", gyr.StatusCode.PERMISSION_DENIED),
        ("404", gyr.StatusCode.UNIMPLEMENTED),
        ("429", gyr.StatusCode.UNAVAILABLE),
        ("502", gyr.StatusCode.UNAVAILABLE),
        ("503", gyr.StatusCode.UNAVAILABLE),
        ("504", gyr.StatusCode.UNAVAILABLE),
        ("200", gyr.StatusCode.UNKNOWN),
        ("302", gyr.StatusCode.UNKNOWN),
        ("418", gyr.StatusCode.UNKNOWN),
        ("500", gyr.StatusCode.UNKNOWN),
    ],
)
@pytest.mark.parametrize("body", [None, b"<html>not here</html>"])
async def test_without_a_grpc_status_the_http_status_decides(
    http: str, code: gyr.StatusCode, body: bytes | None
) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(
            stream_id, body, trailers=None, pseudo_status=http, content_type="text/html"
        )
        assert (await failure(call)).code == code


async def test_an_answer_that_is_not_grpc_is_told_with_its_content_type() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, b"<html>", trailers=None, content_type="text/html")
        error = await failure(call)
        assert (error.code, "text/html" in error.message) == (gyr.StatusCode.UNKNOWN, True)


async def test_an_informational_head_before_the_answer_is_passed_over() -> None:
    async with answering() as (peer, stream_id, call):
        peer.h2.send_headers(stream_id, [(":status", "103"), ("link", "</style.css>")])
        await peer.respond(stream_id, frame(HELLO))
        assert (await call).value == b"hello"
        assert (await call.initial_metadata()).items() == []


@pytest.mark.parametrize("code", ErrorCodes)
@pytest.mark.parametrize("after", ["nothing", "head", "message"])
async def test_the_code_of_a_reset_decides(code: ErrorCodes, after: str) -> None:
    expected = {
        ErrorCodes.REFUSED_STREAM: gyr.StatusCode.UNAVAILABLE,
        ErrorCodes.CANCEL: gyr.StatusCode.CANCELLED,
        ErrorCodes.ENHANCE_YOUR_CALM: gyr.StatusCode.RESOURCE_EXHAUSTED,
        ErrorCodes.INADEQUATE_SECURITY: gyr.StatusCode.PERMISSION_DENIED,
    }.get(code, gyr.StatusCode.INTERNAL)
    if code is ErrorCodes.REFUSED_STREAM and after == "nothing":
        after = "head"  # without one the call goes out again: see test_raw_goaway.py
    async with answering() as (peer, stream_id, call):
        if after != "nothing":
            peer.h2.send_headers(
                stream_id, [(":status", "200"), ("content-type", "application/grpc")]
            )
        if after == "message":
            peer.h2.send_data(stream_id, frame(HELLO))
        await peer.reset(stream_id, code)
        error = await failure(call)
        assert error.code == expected
        assert str(int(code)) in error.message


async def test_a_cancel_that_comes_with_the_deadline_is_the_deadline() -> None:
    """The server's timer may be the faster one; which of the two is heard first is chance."""
    async with answering(default_timeout=0.1) as (peer, stream_id, call):
        # The loop stands still meanwhile: it will find the reset and the timer both due.
        while call.time_remaining():
            pass
        await peer.reset(stream_id, ErrorCodes.CANCEL)
        error = await failure(call)
        assert (error.code, error.message) == (
            gyr.StatusCode.DEADLINE_EXCEEDED,
            "the deadline of the call passed",
        )


async def test_a_code_of_a_reset_that_nobody_knows_is_internal() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.reset(stream_id, 0xABCD)
        assert (await failure(call)).code == gyr.StatusCode.INTERNAL


async def test_a_reset_after_the_answer_changes_nothing() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(HELLO))
        assert (await call).value == b"hello"
        assert (await call.status()).code == gyr.StatusCode.OK


async def test_the_answer_counts_though_a_reset_comes_right_after_it() -> None:
    async with raw_peer() as (server, stub):
        call = stub.client_stream()
        peer = await server.accept()
        stream_id = (await peer.accept_request()).stream_id
        await peer.respond(stream_id, frame(HELLO))
        await peer.reset(stream_id, ErrorCodes.NO_ERROR)
        assert (await call).value == b"hello"


async def test_two_replies_to_a_unary_call_are_unimplemented() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(HELLO) * 2)
        assert (await failure(call)).code == gyr.StatusCode.UNIMPLEMENTED


async def test_a_second_reply_fails_a_unary_call_though_its_status_never_comes() -> None:
    async with answering() as (peer, stream_id, call):
        peer.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        peer.h2.send_data(stream_id, frame(HELLO) * 2)
        await peer.flush()
        assert (await failure(call)).code == gyr.StatusCode.UNIMPLEMENTED
        assert await peer.reset_of(stream_id) == ErrorCodes.CANCEL


@pytest.mark.parametrize("body", [None, b""])
async def test_ok_without_a_reply_is_unimplemented(body: bytes | None) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, body)
        assert (await failure(call)).code == gyr.StatusCode.UNIMPLEMENTED


async def test_an_error_after_a_reply_is_the_error() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(
            stream_id, frame(HELLO), [("grpc-status", "5"), ("grpc-message", "gone")]
        )
        error = await failure(call)
        assert (type(error), error.message) == (gyr.NotFound, "gone")


async def test_the_metadata_of_trailers_only_is_trailing_metadata() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(
            stream_id,
            trailers=[("grpc-status", "5"), ("grpc-message", "no%20order"), ("shop", "eu")],
        )
        error = await failure(call)
        assert (type(error), error.message) == (gyr.NotFound, "no order")
        assert error.trailing_metadata.items() == [("shop", "eu")]
        assert error.initial_metadata.items() == []
        assert (await call.trailing_metadata()).items() == [("shop", "eu")]
        assert (await call.initial_metadata()).items() == []


@pytest.mark.parametrize("body", [frame(HELLO), b""], ids=["reply", "nothing"])
async def test_a_status_in_a_head_that_does_not_end_the_response_is_none(body: bytes) -> None:
    async with answering() as (peer, stream_id, call):
        head = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "0"),
            ("shop", "eu"),
        ]
        peer.h2.send_headers(stream_id, head)
        peer.h2.send_data(stream_id, body, end_stream=True)
        await peer.flush()
        error = await failure(call)
        assert (type(error), error.message) == (
            gyr.Unknown,
            "the server ended the stream without grpc-status",
        )
        assert (await call.initial_metadata()).items() == [("shop", "eu")]
        assert (await call.trailing_metadata()).items() == []


async def test_the_status_of_the_trailers_counts_and_not_one_in_the_head() -> None:
    async with answering() as (peer, stream_id, call):
        head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "8")]
        peer.h2.send_headers(stream_id, head)
        peer.h2.send_headers(stream_id, [("grpc-status", "9")], end_stream=True)
        await peer.flush()
        assert type(await failure(call)) is gyr.FailedPrecondition


async def test_a_server_that_resets_the_call_at_its_deadline_is_not_who_cancelled_it() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message(b"request"), timeout=0.2)
        peer = await server.accept()
        request = await peer.whole_request()
        # The loop stands still meanwhile: its next turn finds the reset before the timer.
        while call.time_remaining():
            pass
        peer.h2.reset_stream(request.stream_id, ErrorCodes.CANCEL)
        await peer.flush()
        assert type(await failure(call)) is gyr.DeadlineExceeded


async def test_a_server_that_resets_the_call_before_its_deadline_has_cancelled_it() -> None:
    async with raw_peer() as (server, stub):
        call = stub.unary(message(b"request"), timeout=3600)
        peer = await server.accept()
        request = await peer.whole_request()
        peer.h2.reset_stream(request.stream_id, ErrorCodes.CANCEL)
        await peer.flush()
        assert type(await failure(call)) is gyr.Cancelled


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", gyr.StatusCode.UNKNOWN),
        ("abc", gyr.StatusCode.UNKNOWN),
        ("-1", gyr.StatusCode.UNKNOWN),
        ("1.0", gyr.StatusCode.UNKNOWN),
        ("17", gyr.StatusCode.UNKNOWN),
        ("99999", gyr.StatusCode.UNKNOWN),
        ("9" * 100, gyr.StatusCode.UNKNOWN),
        ("OK", gyr.StatusCode.UNKNOWN),
        ("16", gyr.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_a_status_that_is_none_is_unknown(sent: str, code: gyr.StatusCode) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, trailers=[("grpc-status", sent)])
        error = await failure(call)
        assert error.code == code
        if code is gyr.StatusCode.UNKNOWN:
            assert sent[:64] in error.message


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("plain", "plain"),
        ("%", "%"),
        ("%4", "%4"),
        ("%GG%20", "%GG "),
        ("%e2%82%ac", "€"),
        ("%FF", "�"),
        ("€", "€"),
        ("100%%20", "100% "),
    ],
)
async def test_a_status_text_is_read_whatever_it_is(sent: str, text: str) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, trailers=[("grpc-status", "9"), ("grpc-message", sent)])
        assert (await failure(call)).message == text


async def test_malformed_details_leave_the_status_as_it_is() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(
            stream_id, trailers=[("grpc-status", "9"), ("grpc-status-details-bin", "!!!")]
        )
        error = await failure(call)
        assert (type(error), error.details) == (gyr.FailedPrecondition, ())


async def test_malformed_binary_metadata_leaves_the_status_as_it_is() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, trailers=[("grpc-status", "9"), ("trace-bin", "!!!")])
        assert (await failure(call)).code == gyr.StatusCode.FAILED_PRECONDITION


async def test_binary_metadata_comes_padded_unpadded_and_joined_by_commas() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(
            stream_id,
            frame(HELLO),
            [("grpc-status", "0"), ("a-bin", "Zg=="), ("a-bin", "Zm8"), ("a-bin", "Zm9v,Zg")],
            b_bin="",
        )
        await call
        assert (await call.trailing_metadata()).get_all("a-bin") == [b"f", b"fo", b"foo", b"f"]


@pytest.mark.parametrize("kept", [1, 4, 5, 6, -1])
async def test_a_reply_that_is_cut_is_internal(kept: int) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(HELLO)[:kept])
        assert (await failure(call)).code == gyr.StatusCode.INTERNAL


async def test_whole_replies_before_a_cut_one_are_delivered_and_then_the_error() -> None:
    async with raw_peer() as (server, stub):
        call = stub.server_stream(message())
        peer = await server.accept()
        stream_id = (await peer.whole_request()).stream_id
        await peer.respond(stream_id, frame(HELLO) * 2 + frame(HELLO)[:6])
        replies, error = await collect_failing(call)
        assert type(error) is gyr.Internal
        assert replies in ([], [b"hello"] * 2)


async def test_replies_before_a_lost_connection_are_delivered_and_then_the_error() -> None:
    async with raw_peer() as (server, stub):
        call = stub.server_stream(message())
        peer = await server.accept()
        stream_id = (await peer.whole_request()).stream_id
        peer.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        peer.h2.send_data(stream_id, frame(HELLO) * 2 + frame(HELLO)[:6])
        await peer.flush()
        assert (await anext(call)).value == b"hello"
        await peer.close()
        assert (await anext(call)).value == b"hello"
        with pytest.raises(gyr.Unavailable):
            await anext(call)


async def test_a_lost_connection_is_unavailable() -> None:
    async with answering() as (peer, _, call):
        await peer.close()
        error = await failure(call)
        assert (type(error), "connection was lost" in error.message) == (gyr.Unavailable, True)


async def test_a_length_over_the_limit_is_refused_before_the_reply_has_come() -> None:
    async with answering(max_receive_bytes=1000) as (peer, stream_id, call):
        peer.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        peer.h2.send_data(stream_id, b"\x00" + (1001).to_bytes(4, "big"))
        await peer.flush()
        error = await failure(call)
        assert error.code == gyr.StatusCode.RESOURCE_EXHAUSTED
        assert "1001" in error.message
        assert "1000" in error.message
        assert await peer.reset_of(stream_id) == ErrorCodes.CANCEL


@pytest.mark.parametrize("bad", [b"\x00" + (2**23).to_bytes(4, "big"), b"\x07\x00\x00\x00\x00"])
async def test_good_replies_that_wait_before_a_bad_one_are_still_received(bad: bytes) -> None:
    async with raw_peer() as (server, stub):
        call = stub.server_stream(message())
        peer = await server.accept()
        stream_id = (await peer.whole_request()).stream_id
        peer.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        peer.h2.send_data(stream_id, frame(HELLO) * 2 + bad)
        await peer.flush()
        assert await peer.reset_of(stream_id) == ErrorCodes.CANCEL
        status = await call.status()
        replies, error = await collect_failing(call)
        assert (replies, error.code) == ([b"hello"] * 2, status.code)


async def test_details_that_contradict_the_status_are_dropped_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    details = b64encode(encode_details(13, "there", [message(b"detail")])).decode()
    trailers = (
        ("grpc-status", "5"),
        ("grpc-message", "here"),
        ("grpc-status-details-bin", details),
    )
    with caplog.at_level("INFO", "gyrfalcon.client"):
        async with answering() as (peer, stream_id, call):
            await peer.respond(stream_id, trailers=trailers)
            error = await failure(call)
            assert (type(error), error.message, error.details) == (gyr.NotFound, "here", ())
    assert "says code 13 and grpc-status 5" in caplog.text


async def test_an_encoding_that_was_not_offered_is_internal() -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(HELLO, compressed=1), grpc_encoding="snappy")
        error = await failure(call)
        assert (error.code, "snappy" in error.message) == (gyr.StatusCode.INTERNAL, True)


@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_a_compressed_flag_without_an_encoding_is_internal(encoding: str) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(HELLO, compressed=1), grpc_encoding=encoding)
        assert (await failure(call)).code == gyr.StatusCode.INTERNAL


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("data", [b"", b"no such thing", b"\x1f\x8b\x08\x00", b"\x78\x9c"])
async def test_corrupt_compressed_data_is_internal(encoding: str, data: bytes) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(data, compressed=1), grpc_encoding=encoding)
        assert (await failure(call)).code == gyr.StatusCode.INTERNAL


@pytest.mark.parametrize("flag", [2, 0xFF])
async def test_a_flag_that_is_neither_0_nor_1_is_internal(flag: int) -> None:
    async with answering() as (peer, stream_id, call):
        await peer.respond(stream_id, frame(HELLO, compressed=flag))
        assert (await failure(call)).code == gyr.StatusCode.INTERNAL


@pytest.mark.parametrize("where", ["head", "trailers", "trailers after the limit", "trailers only"])
async def test_metadata_over_the_limit_costs_the_call_and_not_the_connection(where: str) -> None:
    many = [(f"x-{number}", "v" * 1000) for number in range(17)]
    async with raw_peer() as (server, stub):
        call = stub.unary(message())
        peer = await server.accept()
        stream_id = (await peer.whole_request()).stream_id
        match where:
            case "head":
                await peer.respond(stream_id, frame(HELLO), (("grpc-status", "0"),), **dict(many))
            case "trailers":
                await peer.respond(stream_id, frame(HELLO), [("grpc-status", "0"), *many])
            case "trailers after the limit":
                await peer.respond(stream_id, frame(HELLO), [*many, ("grpc-status", "0")])
            case _:
                await peer.respond(stream_id, trailers=[("grpc-status", "5"), *many])
        assert (await failure(call)).code == gyr.StatusCode.RESOURCE_EXHAUSTED
        call = stub.unary(message())
        await peer.respond((await peer.whole_request()).stream_id, frame(HELLO))
        assert (await call).value == b"hello"


async def test_the_callers_cancel_resets_the_stream_at_once() -> None:
    async with answering() as (peer, stream_id, call):
        assert call.cancel() is True
        assert await peer.reset_of(stream_id) == ErrorCodes.CANCEL
        assert (await failure(call)).code == gyr.StatusCode.CANCELLED


async def test_a_deadline_resets_the_stream() -> None:
    async with raw_peer() as (server, stub):
        # On a connection that is there: the request leaves at once, so before its deadline.
        first = stub.unary(message())
        peer = await server.accept()
        await peer.respond((await peer.whole_request()).stream_id, frame(HELLO))
        await first
        call = stub.unary(message(), timeout=0.1)
        stream_id = (await peer.whole_request()).stream_id
        assert (await failure(call)).code == gyr.StatusCode.DEADLINE_EXCEEDED
        assert await peer.reset_of(stream_id) == ErrorCodes.CANCEL


async def test_an_early_answer_ends_the_request_with_no_error() -> None:
    async with raw_peer() as (server, stub):
        call = stub.bidi()
        peer = await server.accept()
        stream_id = (await peer.accept_request()).stream_id
        await peer.respond(stream_id, frame(HELLO))
        assert await collect(call) == [b"hello"]
        assert await peer.reset_of(stream_id) == ErrorCodes.NO_ERROR


async def test_a_stream_of_replies_of_every_size_comes_whole() -> None:
    sizes = [0, 1, 4, 5, 6, 16379, 16384, 16385, 40000]
    async with raw_peer() as (server, stub):
        call = stub.server_stream(message())
        peer = await server.accept()
        stream_id = (await peer.whole_request()).stream_id
        body = b"".join(frame(message(b"x" * size).SerializeToString()) for size in sizes)
        peer.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        for start in range(0, len(body), 9999):
            peer.h2.send_data(stream_id, body[start : start + 9999])
            await peer.flush()
        peer.h2.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)
        await peer.flush()
        assert [len(reply) for reply in await collect(call)] == sizes
