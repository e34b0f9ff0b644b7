"""The service of these tests: one method of each pattern, and each test brings its own handlers."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, Serving, serve

# A test that waits this long for anything has failed; nothing here takes a tenth of it.
SAFETY_NET_S = 30.0

# For a deadline that is to pass while a handler runs: on a machine that is busy it may pass before
# the handler has begun. Then once more, with more time.
TIMEOUTS_S = (0.1, 1.0, 10.0)

SERVICE = "tests.Calls"


def make_method(name: str, attribute: str, pattern: gyr.Pattern) -> gyr.Method[Any, Any]:
    return gyr.Method(SERVICE, name, attribute, pattern, BytesValue, BytesValue)


UNARY = make_method("Unary", "unary", gyr.Pattern.UNARY_UNARY)
SERVER_STREAM = make_method("ServerStream", "server_stream", gyr.Pattern.UNARY_STREAM)
CLIENT_STREAM = make_method("ClientStream", "client_stream", gyr.Pattern.STREAM_UNARY)
BIDI = make_method("Bidi", "bidi", gyr.Pattern.STREAM_STREAM)
METHODS = (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI)


class Calls(gyr.Service):
    """Handlers as keyword arguments, named as the methods; those left out are not implemented."""

    __gyr_service__: ClassVar[gyr.ServiceDefinition] = gyr.ServiceDefinition(SERVICE, METHODS)

    def __init__(self, **handlers: Any) -> None:
        self.__dict__.update(handlers)


class Stub:
    """The four methods on a channel; `served` is what `serving` started."""

    served: Serving

    def __init__(self, channel: gyr.Channel) -> None:
        self.channel = channel
        self.unary = gyr.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
        self.server_stream = gyr.UnaryStream[BytesValue, BytesValue](channel, SERVER_STREAM)
        self.client_stream = gyr.StreamUnary[BytesValue, BytesValue](channel, CLIENT_STREAM)
        self.bidi = gyr.StreamStream[BytesValue, BytesValue](channel, BIDI)


@asynccontextmanager
async def serving(
    server_options: Mapping[str, Any] | None = None,
    channel_options: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    **handlers: Any,
) -> AsyncIterator[Stub]:
    """A stub of a channel to a server with these handlers, in memory."""
    served = serve(
        Calls(**handlers),
        clock=clock,
        server_options=server_options,
        channel_options=channel_options,
    )
    async with asyncio.timeout(SAFETY_NET_S), served as channel:
        stub = Stub(channel)
        stub.served = served
        yield stub


async def timer_set(clock: Clock, seconds: float) -> None:
    """Wait until something waits for the clock to be so many seconds on."""
    while clock.next_timer != clock.time() + seconds:  # noqa: ASYNC110
        await asyncio.sleep(0)


@contextmanager
def free_port() -> Iterator[int]:
    """A port of 127.0.0.1 where nobody listens, until the test does so itself."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port: int = kept.getsockname()[1]
        if sys.platform == "darwin":
            kept.close()  # which lets nobody listen there before
        # Elsewhere it stays bound: no other process gets the port, nor does a connection to it find
        # itself, with this port at both its ends.
        yield port


def message(data: bytes = b"") -> BytesValue:
    return BytesValue(value=data)


async def collect_failing(messages: AsyncIterable[BytesValue]) -> tuple[list[bytes], gyr.RpcError]:
    """What the messages of a stream hold, and the error at its end."""
    found = []
    try:
        async for one in messages:
            found.append(one.value)
    except gyr.RpcError as error:
        return found, error
    raise AssertionError(f"the stream ended without an error, after {found!r}")


async def collect(messages: AsyncIterable[BytesValue]) -> list[bytes]:
    """What the messages of a stream hold."""
    return [one.value async for one in messages]
