"""Which messages of a call are compressed, and how, as they are on the wire."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import serve
from tests.call.service import (
    SERVER_STREAM,
    UNARY,
    Calls,
    Stub,
    collect,
    message,
    serving,
)
from tests.interop.raw import frame, raw_client, raw_server

pytestmark = pytest.mark.anyio

LARGE = message(b"compressible " * 1000)
NAMES = ["gzip", "deflate", "zstd"]


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """The messages of a body: compressed flag and data."""
    found = []
    while body:
        length = int.from_bytes(body[1:5], "big")
        found.append((body[0], body[5 : 5 + length]))
        body = body[5 + length :]
    return found


def opened(name: str, body: bytes) -> list[tuple[int, BytesValue]]:
    """The messages of a body: compressed flag and message."""
    compression = gyr.COMPRESSIONS.get(name)
    assert compression is not None
    return [
        (flag, BytesValue.FromString(compression.decompress(data, 2**20) if flag else data))
        for flag, data in frames(body)
    ]


# ---------------------------------------------------------------------- requests


async def requests_of(
    use: Callable[[Stub], Coroutine[Any, Any, gyr.Call]], **options: Any
) -> tuple[str | None, bytes]:
    """The encoding and the body of the request that a program makes."""
    async with (
        raw_server() as server,
        gyr.Channel(f"127.0.0.1:{server.port}", **options) as channel,
        asyncio.TaskGroup() as tasks,
    ):
        using = tasks.create_task(use(Stub(channel)))
        peer = await server.accept()
        request = await peer.whole_request()
        await peer.respond(request.stream_id, frame(b""))
        await (await using).status()
        return request.head.get("grpc-encoding"), request.body


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by_call", [False, True], ids=["channel", "call"])
async def test_requests_are_compressed_as_the_channel_or_the_call_says(
    name: str, by_call: bool
) -> None:
    async def use(stub: Stub) -> gyr.Call:
        return stub.unary(LARGE, compression=name if by_call else None)

    encoding, body = await requests_of(use, compression=None if by_call else name)
    assert encoding == name
    assert opened(name, body) == [(1, LARGE)]
    assert len(body) < 1000


async def test_a_call_may_do_without_the_compression_of_its_channel() -> None:
    async def use(stub: Stub) -> gyr.Call:
        return stub.unary(LARGE, compression="identity")

    encoding, body = await requests_of(use, compression="gzip")
    assert (encoding, body) == (None, frame(LARGE.SerializeToString()))


async def test_single_requests_of_a_stream_are_left_as_they_are() -> None:
    async def use(stub: Stub) -> gyr.Call:
        call = stub.client_stream(compression="gzip")
        for compress in (None, False, True, False):
            await call.send(LARGE, compress=compress)
        await call.done_sending()
        return call

    encoding, body = await requests_of(use)
    assert encoding == "gzip"
    assert opened("gzip", body) == [(1, LARGE), (0, LARGE), (1, LARGE), (0, LARGE)]


async def test_a_request_cannot_be_compressed_in_a_call_without_a_compression() -> None:
    async def use(stub: Stub) -> gyr.Call:
        call = stub.bidi()
        with pytest.raises(ValueError, match="Bidi: this call has no compression"):
            await call.send(LARGE, compress=True)
        await call.send(LARGE, compress=False)
        await call.done_sending()
        return call

    encoding, body = await requests_of(use)
    assert (encoding, body) == (None, frame(LARGE.SerializeToString()))


@pytest.mark.parametrize("name", NAMES)
async def test_what_would_not_get_smaller_is_sent_as_it_is(name: str) -> None:
    async def use(stub: Stub) -> gyr.Call:
        return stub.client_stream([message(), message(b"x"), LARGE], compression=name)

    _, body = await requests_of(use)
    assert [flag for flag, _ in frames(body)] == [0, 0, 1]
    assert [one for _, one in opened(name, body)] == [message(), message(b"x"), LARGE]


# ---------------------------------------------------------------------- replies


async def alternate(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    ctx.compression = "gzip"
    for compress in (True, False, True, False):
        ctx.compress = compress
        assert ctx.compress is compress
        yield request


def alternate_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    ctx.compression = "gzip"
    for compress in (True, False, True, False):
        ctx.compress = compress
        yield request
        with pytest.raises(RuntimeError, match="compression cannot be set any more"):
            ctx.compression = "deflate"


async def alternate_by_list(request: BytesValue, ctx: gyr.ServerContext) -> list[BytesValue]:
    ctx.compression = "gzip"
    ctx.compress = False
    return [request] * 4


async def plain_reply(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    ctx.compression = "gzip"
    ctx.compress = False
    return request


def plain_reply_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    ctx.compression = "gzip"
    ctx.compress = False
    return request


@pytest.mark.parametrize(
    ("handler", "flags"),
    [
        (alternate, [1, 0, 1, 0]),
        (alternate_in_thread, [1, 0, 1, 0]),
        (alternate_by_list, [0, 0, 0, 0]),
        (plain_reply, [0]),
        (plain_reply_in_thread, [0]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_single_replies_are_left_as_they_are(handler: Any, flags: list[int]) -> None:
    path = "ServerStream" if len(flags) > 1 else "Unary"
    async with gyr.Server([Calls(unary=handler, server_stream=handler)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            answer = await connection.request(
                frame(LARGE.SerializeToString()),
                pseudo_path=f"/tests.Calls/{path}",
                grpc_accept_encoding="gzip",
            )
    assert (answer.status, answer.head["grpc-encoding"]) == (0, "gzip")
    assert opened("gzip", answer.body) == [(flag, LARGE) for flag in flags]


@pytest.mark.parametrize("accepted", ["", "identity", "deflate, br", "gzipped", "GZIP"])
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "def"])
async def test_a_client_that_does_not_take_it_gets_replies_as_they_are(
    accepted: str, threaded: bool
) -> None:
    handler = alternate_in_thread if threaded else alternate
    async with gyr.Server([Calls(server_stream=handler)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            answer = await connection.request(
                frame(LARGE.SerializeToString()),
                pseudo_path="/tests.Calls/ServerStream",
                grpc_accept_encoding=accepted,
            )
    assert (answer.status, answer.head.get("grpc-encoding")) == (0, None)
    assert answer.body == frame(LARGE.SerializeToString()) * 4


@pytest.mark.parametrize("name", NAMES)
async def test_the_server_compresses_replies_that_the_client_takes(name: str) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        assert ctx.compression == name
        return request

    async with gyr.Server([Calls(unary=echo)], compression=name) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            answer = await connection.request(
                frame(LARGE.SerializeToString()), grpc_accept_encoding=f"br, {name}"
            )
    assert (answer.status, answer.head["grpc-encoding"]) == (0, name)
    assert opened(name, answer.body) == [(1, LARGE)]


# ---------------------------------------------------------------------- limits and one's own


@pytest.mark.parametrize("name", NAMES)
async def test_a_bomb_ends_at_the_limit(name: str) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async def large(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.compression = name
        return message(bytes(5 * 2**20))

    async with serving({"max_receive_bytes": 1000}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=1000"):
            await stub.unary(message(bytes(5 * 2**20)), compression=name)
        await stub.unary(message(bytes(900)), compression=name)
    async with serving(unary=large) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=4194304"):
            await stub.unary(message())


class Careless:
    """A compression that keeps none of its promises when it is told so."""

    name = "careless"
    fault: str = ""

    def compress(self, data: bytes, /) -> bytes:
        if self.fault == "compress raises":
            raise KeyError("a secret")
        if self.fault == "compress gives text":
            return "text"  # type: ignore[return-value]
        return zlib.compress(data)

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        if self.fault == "decompress raises":
            raise KeyError("cannot")
        if self.fault == "decompress gives text":
            return "text"  # type: ignore[return-value]
        return zlib.decompress(data)


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> Careless:
    compression = Careless()
    monkeypatch.setattr(gyr.COMPRESSIONS, "_by_name", dict(gyr.COMPRESSIONS._by_name))
    monkeypatch.setattr(gyr.COMPRESSIONS, "accept_encoding", gyr.COMPRESSIONS.accept_encoding)
    gyr.COMPRESSIONS.register(compression)
    return compression


async def test_a_compression_of_ones_own_goes_both_ways(careless: Careless) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        assert ctx.compression == "careless"
        return request

    async with serving({"compression": careless}, {"compression": "careless"}, unary=echo) as stub:
        assert await stub.unary(LARGE) == LARGE


@pytest.mark.parametrize("fault", ["decompress raises", "decompress gives text"])
async def test_a_faulty_decompression_is_internal(careless: Careless, fault: str) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async with serving(None, {"compression": "careless"}, unary=echo) as stub:
        careless.fault = fault
        with pytest.raises(gyr.Internal):
            await stub.unary(LARGE)
        careless.fault = ""
        await stub.unary(LARGE)


async def test_a_decompression_that_passes_the_limit_is_caught(careless: Careless) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    limits = {"max_receive_bytes": 1000}
    async with serving(limits, {"compression": "careless"}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=1000"):
            await stub.unary(LARGE)


@pytest.mark.parametrize("fault", ["compress raises", "compress gives text"])
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "def"])
async def test_replies_that_cannot_be_compressed_are_internal_and_logged(
    careless: Careless, fault: str, threaded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async def stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield request

    def echo_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    def stream_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield request

    unary, server_stream = (echo_in_thread, stream_in_thread) if threaded else (echo, stream)
    options = {"compression": careless}
    async with serving(options, None, unary=unary, server_stream=server_stream) as stub:
        careless.fault = fault
        for _ in range(2):
            with pytest.raises(gyr.Internal) as caught:
                await stub.unary(LARGE)
            assert "secret" not in caught.value.message
            with pytest.raises(gyr.Internal, match="a reply could not be compressed"):
                await collect(stub.server_stream(LARGE))
        careless.fault = ""
        assert await stub.unary(LARGE) == LARGE
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 4


async def test_a_request_that_cannot_be_compressed_raises_where_it_is_sent(
    careless: Careless,
) -> None:
    async def count(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return message(b"%d" % len([one async for one in requests]))

    async with serving(None, {"compression": "careless"}, client_stream=count) as stub:
        async with stub.client_stream() as call:
            careless.fault = "compress raises"
            with pytest.raises(KeyError):
                await call.send(LARGE)
            careless.fault = ""
            await call.send(LARGE)
            assert (await call).value == b"1"
        careless.fault = "compress gives text"
        with pytest.raises(TypeError, match="careless compresses to str, not to bytes"):
            stub.unary(LARGE)


# ---------------------------------------------------------------------- how messages came


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "def"])
async def test_a_handler_sees_which_requests_came_compressed(threaded: bool) -> None:
    async def see(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        seen = [ctx.request_compressed]
        async for _ in requests:
            seen.append(ctx.request_compressed)
        return message(repr(seen).encode())

    def see_in_thread(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        seen = [ctx.request_compressed, *(ctx.request_compressed for _ in requests)]
        return message(repr(seen).encode())

    handler = see_in_thread if threaded else see
    async with serving(client_stream=handler) as stub:
        call = stub.client_stream(compression="gzip")
        await call.send(LARGE)
        await call.send(LARGE, compress=False)
        await call.send(LARGE)
        assert (await call).value == b"[False, True, False, True]"


async def test_a_handler_sees_whether_its_only_request_came_compressed() -> None:
    async def see(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(repr(ctx.request_compressed).encode())

    async with serving(unary=see) as stub:
        assert (await stub.unary(LARGE, compression="gzip")).value == b"True"
        assert (await stub.unary(LARGE)).value == b"False"


async def test_a_caller_sees_which_replies_came_compressed() -> None:
    async def stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        for compress in (True, False, True):
            ctx.compress = compress
            yield LARGE

    async with serving({"compression": "gzip"}, server_stream=stream) as stub:
        call = stub.server_stream(message())
        seen = [call.reply_compressed, *[call.reply_compressed async for _ in call]]
        assert seen == [False, True, False, True]


def test_a_thread_sees_which_replies_came_compressed() -> None:
    def stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for compress in (True, False, True):
            ctx.compress = compress
            yield LARGE

    def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    service = Calls(unary=echo, server_stream=stream)
    with serve(service, server_options={"compression": "gzip"}) as channel:
        call = gyr.blocking.UnaryStream[BytesValue, BytesValue](channel, SERVER_STREAM)(message())
        assert [call.reply_compressed for _ in call] == [True, False, True]
        future = gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY).future(LARGE)
        assert (future.result(), future.reply_compressed) == (LARGE, True)
