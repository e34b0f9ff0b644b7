"""Stock grpcio's blocking client calls gyr.blocking.Server with `def` handlers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import METHODS, SAFETY_NET_S, Calls, message


def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    if request.value == b"fail":
        raise gyr.NotFound("no such thing")
    ctx.trailing_metadata.add("was", ctx.metadata["was"])
    return request


def count(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    return (message(b"%d" % number) for number in range(int(request.value)))


def join(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return message(b",".join(request.value for request in requests))


def again(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    for request in requests:
        yield message(b"re " + request.value)


@contextmanager
def stock_client(port: int) -> Iterator[dict[str, Any]]:
    """The methods of a blocking channel of grpcio, by their names in Python."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield {
            method.attribute: getattr(channel, method.pattern.name.lower())(
                method.path,
                request_serializer=BytesValue.SerializeToString,
                response_deserializer=BytesValue.FromString,
            )
            for method in METHODS
        }


@contextmanager
def connected(**options: Any) -> Iterator[dict[str, Any]]:
    service = Calls(unary=echo, server_stream=count, client_stream=join, bidi=again)
    with (
        gyr.blocking.Server([service], **options) as server,
        stock_client(server.listen("127.0.0.1:0")) as methods,
    ):
        yield methods


def test_the_four_patterns() -> None:
    numbers = [b"%d" % number for number in range(100)]
    with connected() as methods:
        replies = methods["server_stream"](message(b"100"), timeout=SAFETY_NET_S)
        assert [reply.value for reply in replies] == numbers
        joined = methods["client_stream"](map(message, numbers), timeout=SAFETY_NET_S)
        assert joined.value == b",".join(numbers)
        answers = methods["bidi"](map(message, numbers), timeout=SAFETY_NET_S)
        assert [answer.value for answer in answers] == [b"re " + number for number in numbers]


def test_metadata_and_errors() -> None:
    with connected() as methods:
        reply, call = methods["unary"].with_call(message(b"a"), metadata=[("was", "here")])
        assert (reply.value, list(call.trailing_metadata())) == (b"a", [("was", "here")])
        with pytest.raises(grpc.RpcError) as caught:
            methods["unary"](message(b"fail"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no such thing"


def test_many_threads_on_one_channel() -> None:
    with connected(max_workers=8) as methods, ThreadPoolExecutor(16) as pool:

        def call(number: int) -> bytes:
            request = message(b"%d" % number)
            data: bytes = methods["unary"](request, metadata=[("was", "x")]).value
            return data

        assert list(pool.map(call, range(500))) == [b"%d" % number for number in range(500)]


def test_stopping_ends_calls_and_the_client_hears_of_it() -> None:
    running, never = threading.Event(), threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        running.set()
        never.wait(SAFETY_NET_S)
        return request

    server = gyr.blocking.Server([Calls(unary=wait)])
    with stock_client(server.listen("127.0.0.1:0")) as methods:
        server.start()
        call = methods["unary"].future(message())
        assert running.wait(SAFETY_NET_S)
        threading.Timer(0, never.set).start()
        server.stop(grace=SAFETY_NET_S)
        assert call.result(timeout=SAFETY_NET_S) == message()
        with pytest.raises(grpc.RpcError) as caught:
            methods["unary"](message())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
