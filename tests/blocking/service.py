"""A blocking stub on a blocking server; each test brings its own handlers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY, Calls

# What a test waits for longer than this has failed.
SAFETY_NET_S = 30.0


class BlockingStub:
    """The four methods on a blocking channel."""

    server: gyr.blocking.Server
    target: str

    def __init__(self, channel: gyr.blocking.Channel) -> None:
        self.channel = channel
        self.unary = gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
        self.server_stream = gyr.blocking.UnaryStream[BytesValue, BytesValue](
            channel, SERVER_STREAM
        )
        self.client_stream = gyr.blocking.StreamUnary[BytesValue, BytesValue](
            channel, CLIENT_STREAM
        )
        self.bidi = gyr.blocking.StreamStream[BytesValue, BytesValue](channel, BIDI)


@contextmanager
def serving_threads(
    server_options: Mapping[str, Any] | None = None,
    channel_options: Mapping[str, Any] | None = None,
    **handlers: Any,
) -> Iterator[BlockingStub]:
    """A stub of a blocking channel to a blocking server with these handlers."""
    options: dict[str, Any] = {"grace": 5.0, **(server_options or {})}
    with gyr.blocking.Server([Calls(**handlers)], **options) as server:
        target = f"127.0.0.1:{server.listen('127.0.0.1:0')}"
        with gyr.blocking.Channel(target, **(channel_options or {})) as channel:
            stub = BlockingStub(channel)
            stub.server = server
            stub.target = target
            yield stub


def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def count_down(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    """Replies "N" to "1"."""
    for number in range(int(request.value), 0, -1):
        yield BytesValue(value=b"%d" % number)


def join(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return BytesValue(value=b"".join(request.value for request in requests))


def echo_each(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    yield from requests


HANDLERS: dict[str, Any] = {
    "unary": echo,
    "server_stream": count_down,
    "client_stream": join,
    "bidi": echo_each,
}
