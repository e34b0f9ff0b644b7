"""Channels: when they connect and close, their options, and the errors that name what failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, MemoryNetwork, Serving, serve
from tests.call.service import (
    SAFETY_NET_S,
    Calls,
    Stub,
    collect,
    free_port,
    message,
    serving,
    timer_set,
)

pytestmark = pytest.mark.anyio


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


class Waiting:
    """A handler that waits until it is released or cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request


@asynccontextmanager
async def listener(
    *, answer: bytes | None = None, hang_up: bool = False
) -> AsyncIterator[tuple[str, asyncio.Queue[bytes]]]:
    """What listens and is no gRPC server; its address and what it was sent."""
    received: asyncio.Queue[bytes] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if not hang_up:
            received.put_nowait(await reader.read(65536))
            if answer is None:
                await reader.read()  # it says nothing until the client has gone
            else:
                writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(SAFETY_NET_S):
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", received
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


async def failure(target: str) -> gyr.RpcError:
    """The error of a call to a target that is no server."""
    async with asyncio.timeout(SAFETY_NET_S), gyr.Channel(target) as channel:
        with pytest.raises(gyr.RpcError) as caught:
            await Stub(channel).unary(message())
        return caught.value


async def test_nothing_is_connected_before_the_first_call() -> None:
    async with serving(unary=echo) as stub:
        assert stub.channel.state.name == "IDLE"
        assert "0 connections" in repr(stub.served.server)
        await stub.unary(message())
        assert stub.channel.state.name == "READY"
        assert "1 connection" in repr(stub.served.server)
    assert stub.channel.state.name == "SHUTDOWN"


async def test_wait_ready_connects() -> None:
    async with serving(unary=echo) as stub:
        await stub.channel.wait_ready()
        assert stub.channel.state.name == "READY"
        await stub.channel.wait_ready()


async def test_a_channel_need_not_be_used_in_a_block() -> None:
    async with serving(unary=echo) as stub:
        channel = stub.served.channel()
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"
        await channel.close()
        await channel.close()


async def test_a_closed_channel_takes_no_calls() -> None:
    async with serving(unary=echo) as stub:
        await stub.channel.close()
        with pytest.raises(RuntimeError, match="is closed"):
            stub.unary(message())
        with pytest.raises(RuntimeError, match="is closed"):
            await stub.channel.wait_ready()


async def test_closing_cancels_the_calls_that_run() -> None:
    handler = Waiting()
    async with serving(unary=handler.unary) as stub:
        call = stub.unary(message())
        await handler.started.wait()
        await stub.channel.close()
        with pytest.raises(gyr.Cancelled, match="closed"):
            await call
        await handler.cancelled.wait()


async def test_closing_with_grace_lets_the_calls_end() -> None:
    handler = Waiting()
    async with serving(unary=handler.unary) as stub:
        call = stub.unary(message(b"x"))
        await handler.started.wait()
        closing = asyncio.create_task(stub.channel.close(grace=20))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="is closed"):
            stub.unary(message())
        assert not call.done()
        handler.release.set()
        assert (await call).value == b"x"
        await closing


async def test_closing_with_a_grace_that_runs_out_cancels_the_rest() -> None:
    handler = Waiting()
    clock = Clock()
    async with serving(clock=clock, unary=handler.unary) as stub:
        call = stub.unary(message())
        await handler.started.wait()
        closing = asyncio.create_task(stub.channel.close(grace=7))
        await timer_set(clock, 7)
        clock.advance(6.9)
        await asyncio.sleep(0)
        assert not call.done()
        clock.advance(0.1)
        with pytest.raises(gyr.Cancelled):
            await call
        await handler.cancelled.wait()
        await closing


async def test_closing_fails_the_calls_that_wait_for_a_connection() -> None:
    async with listener() as (target, received), gyr.Channel(target) as channel:
        calls = [Stub(channel).unary(message(), wait_for_ready=ready) for ready in (True, False)]
        await received.get()
        await channel.close()
        for call in calls:
            with pytest.raises(gyr.Cancelled, match="closed"):
                await call


async def test_leaving_the_block_with_an_error_closes_too() -> None:
    handler = Waiting()
    calls: list[gyr.Call] = []

    async def fail(served: Serving) -> None:
        async with served.channel() as channel:
            calls.append(Stub(channel).unary(message()))
            await handler.started.wait()
            raise ZeroDivisionError

    async with serving(unary=handler.unary) as stub:
        with pytest.raises(ZeroDivisionError):
            await fail(stub.served)
        assert calls[0].cancelled()


async def test_the_default_timeout_is_for_calls_that_give_none() -> None:
    seen: list[float | None] = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(ctx.time_remaining())
        return request

    async with serving(None, {"default_timeout": 500.0}, Clock(), unary=note) as stub:
        await stub.unary(message())
        await stub.unary(message(), timeout=50)
        await stub.unary(message(), timeout=5000)
        await stub.unary(message(), timeout=float("inf"))
    assert seen == [500, 50, 5000, None]


async def test_the_default_timeout_ends_calls() -> None:
    handler = Waiting()
    clock = Clock()
    async with serving(None, {"default_timeout": 5}, clock, unary=handler.unary) as stub:
        call = stub.unary(message())
        await handler.started.wait()
        clock.advance(5)
        with pytest.raises(gyr.DeadlineExceeded):
            await call
        await handler.cancelled.wait()


async def test_a_timeout_that_is_no_number_is_refused() -> None:
    async with serving(unary=echo) as stub:
        with pytest.raises(ValueError, match="timeout"):
            stub.unary(message(), timeout=float("nan"))
        with pytest.raises(TypeError):
            stub.unary(message(), timeout="1s")  # type: ignore[arg-type]


@pytest.mark.parametrize("channel_compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("call_compression", [None, "gzip", "identity"])
@pytest.mark.parametrize("server_compression", [None, "gzip"])
async def test_compression_of_the_channel_the_call_and_the_server(
    channel_compression: str | None, call_compression: str | None, server_compression: str | None
) -> None:
    async with serving(
        {"compression": server_compression}, {"compression": channel_compression}, unary=echo
    ) as stub:
        data = b"compressible" * 1000
        assert (await stub.unary(message(data), compression=call_compression)).value == data


async def test_requests_over_the_limit_of_the_channel_are_refused_here() -> None:
    async with serving(None, {"max_send_bytes": 1000}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_send_bytes=1000"):
            await stub.unary(message(b"x" * 1000))
        assert (await stub.unary(message(b"x" * 900))).value == b"x" * 900
        async with stub.bidi() as call:
            with pytest.raises(gyr.ResourceExhausted, match="max_send_bytes=1000"):
                await call.send(message(b"x" * 1000))


async def test_replies_over_the_limit_of_the_server_are_refused_there() -> None:
    async def stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield message(b"small")
        yield request

    async with serving({"max_send_bytes": 1000}, unary=echo, server_stream=stream) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_send_bytes=1000"):
            await stub.unary(message(b"x" * 1000))
        call = stub.server_stream(message(b"x" * 1000))
        assert await call.receive() == message(b"small")
        with pytest.raises(gyr.ResourceExhausted, match="max_send_bytes=1000"):
            await call.receive()


async def test_messages_over_the_limits_of_receivers() -> None:
    limits = {"max_receive_bytes": 1000}
    async with serving(limits, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=1000"):
            await stub.unary(message(b"x" * 1000))
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=1000"):
            await stub.unary(message(b"x" * 100_000), compression="gzip")
    async with serving(None, limits, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="max_receive_bytes=1000"):
            await stub.unary(message(b"x" * 1000))


async def test_metadata_over_the_limit_of_the_server_costs_that_call() -> None:
    async with serving({"max_metadata_bytes": 2000}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted, match="metadata"):
            await stub.unary(message(), metadata={"x": "v" * 3000})
        assert (await stub.unary(message(b"x"), metadata={"x": "v" * 500})).value == b"x"


@pytest.mark.parametrize("size", [20_000, 60_000, 100_000, 1_000_000])
async def test_metadata_of_any_size_ends_the_call_with_an_error_and_leaves_the_channel(
    size: int,
) -> None:
    async with serving(unary=echo) as stub:
        with pytest.raises(gyr.RpcError):
            await stub.unary(message(), metadata={"x": "v" * size})
        assert (await stub.unary(message(b"x"))).value == b"x"


@pytest.mark.parametrize("size", [20_000, 60_000, 100_000, 1_000_000])
@pytest.mark.parametrize("where", ["initial", "trailing", "details"])
async def test_answers_with_metadata_of_any_size_end_the_call(size: int, where: str) -> None:
    async def much(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if not request.value:
            return request
        match where:
            case "initial":
                await ctx.send_initial_metadata({"x": "v" * size})
            case "trailing":
                ctx.trailing_metadata["x"] = "v" * size
            case _:
                raise gyr.NotFound("much", details=[message(b"v" * size)])
        return request

    async with serving(unary=much) as stub:
        with pytest.raises(gyr.RpcError):
            await stub.unary(message(b"x"))
        assert (await stub.unary(message())).value == b""


async def test_a_name_that_is_not_resolved_is_unavailable_and_named() -> None:
    error = await failure("no-such-host.invalid:50051")
    assert type(error) is gyr.Unavailable
    assert "resolve" in error.message
    assert "no-such-host.invalid" in error.message


async def test_a_refused_connection_is_unavailable_and_named() -> None:
    with free_port() as port:
        target = f"127.0.0.1:{port}"
        error = await failure(target)
    assert type(error) is gyr.Unavailable
    assert f"connect to {target}" in error.message
    assert "refused" in error.message


async def test_a_unix_socket_that_is_not_there_is_unavailable_and_named(tmp_path: Path) -> None:
    error = await failure(f"unix:{tmp_path}/nobody.sock")
    assert type(error) is gyr.Unavailable
    assert f"connect to unix:{tmp_path}/nobody.sock" in error.message


async def test_a_peer_that_hangs_up_at_once_is_unavailable_and_named() -> None:
    async with listener(hang_up=True) as (target, _):
        error = await failure(target)
        assert type(error) is gyr.Unavailable
        assert f"HTTP/2 handshake with {target}" in error.message


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"\x00" * 100]
)
async def test_a_peer_that_speaks_something_else_is_unavailable_and_named(answer: bytes) -> None:
    async with listener(answer=answer) as (target, _):
        error = await failure(target)
        assert type(error) is gyr.Unavailable
        assert f"HTTP/2 handshake with {target}" in error.message


async def test_a_peer_that_says_nothing_is_unavailable_and_named() -> None:
    clock = Clock()
    async with (
        listener() as (target, received),
        gyr.Channel(target, connect_timeout=5, network=gyr.Network(clock=clock)) as channel,
    ):
        call = Stub(channel).unary(message())
        assert (await received.get()).startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        clock.advance(4.99)
        assert channel.state.name == "CONNECTING"
        clock.advance(0.01)
        with pytest.raises(
            gyr.Unavailable, match=f"HTTP/2 handshake with {target} took longer than 5 seconds"
        ):
            await call


async def test_a_deadline_while_the_channel_connects_says_what_it_waited_for() -> None:
    clock = Clock()
    async with (
        listener() as (target, received),
        gyr.Channel(target, network=gyr.Network(clock=clock)) as channel,
    ):
        call = Stub(channel).unary(message(), timeout=3)
        await received.get()
        clock.advance(3)
        with pytest.raises(gyr.DeadlineExceeded, match="CONNECTING"):
            await call


async def test_a_call_that_waits_for_ready_is_served_when_the_server_comes() -> None:
    clock = Clock()
    network = MemoryNetwork(clock=clock)
    async with asyncio.timeout(SAFETY_NET_S), gyr.Channel("shop:50051", network=network) as channel:
        stub = Stub(channel)
        waiting = stub.unary(message(b"late"), wait_for_ready=True)
        with pytest.raises(gyr.Unavailable):
            await stub.unary(message())
        async with serve(Calls(unary=echo), network=network, address="shop:50051"):
            clock.advance(1)
            assert (await waiting).value == b"late"


async def test_a_channel_connects_again_when_its_server_was_restarted() -> None:
    network = MemoryNetwork()
    async with asyncio.timeout(SAFETY_NET_S), gyr.Channel("shop:50051", network=network) as channel:
        for number in range(3):
            async with serve(Calls(unary=echo), network=network, address="shop:50051"):
                reply = await Stub(channel).unary(message(b"%d" % number), wait_for_ready=True)
                assert reply.value == b"%d" % number


async def test_calls_that_wait_for_a_connection_go_in_the_order_they_were_made() -> None:
    order: list[bytes] = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        order.append(request.value)
        return request

    async with serving(unary=note) as stub:
        calls = [stub.unary(message(b"%d" % number)) for number in range(50)]
        for call in calls:
            await call
    assert order == [b"%d" % number for number in range(50)]


async def test_the_second_address_is_taken_when_the_first_does_not_answer() -> None:
    async with (
        serving(unary=echo) as stub,
        gyr.Channel(
            f"ipv4:192.0.2.7:50051,{stub.served.target}", network=stub.served.network
        ) as channel,
    ):
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"


async def test_a_name_is_resolved() -> None:
    async with gyr.Server([Calls(unary=echo)]) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"dns:///localhost:{port}") as channel:
            assert (await Stub(channel).unary(message(b"x"))).value == b"x"


async def test_more_calls_than_the_server_takes_at_once_wait_their_turn() -> None:
    running = most = 0

    async def count(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return request

    async with serving({"max_concurrent_streams": 5}, unary=count) as stub:
        await stub.unary(message())
        calls = [stub.unary(message(b"%d" % number)) for number in range(200)]
        assert [(await call).value for call in calls] == [b"%d" % n for n in range(200)]
    assert most <= 5


async def test_replies_in_one_stream_keep_their_order_among_many_streams() -> None:
    async def count(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        for number in range(100):
            yield message(b"%d" % number)
            if number % 7 == 0:
                await asyncio.sleep(0)

    async with serving(server_stream=count) as stub:
        streams = await asyncio.gather(*(collect(stub.server_stream(message())) for _ in range(30)))
        assert streams == [[b"%d" % number for number in range(100)]] * 30


async def test_calls_that_a_lost_connection_never_sent_go_out_on_the_next() -> None:
    first = asyncio.Event()

    async def wait_once(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if not first.is_set():
            first.set()
            await asyncio.Event().wait()
        return request

    async with serving({"max_concurrent_streams": 1}, unary=wait_once) as stub:
        # The one that runs, and those that the server's limit keeps from being sent.
        running = stub.unary(message(b"running"))
        await first.wait()
        waiting = [stub.unary(message(b"%d" % number)) for number in range(5)]
        stub.served.faults.reset()
        with pytest.raises(gyr.Unavailable):
            await running
        assert [(await call).value for call in waiting] == [b"%d" % n for n in range(5)]
