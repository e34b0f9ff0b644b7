"""The end of a server: what still runs, what is refused, and how long it may take."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, serve
from tests.call.service import (
    CLIENT_STREAM,
    SAFETY_NET_S,
    SERVER_STREAM,
    SERVICE,
    UNARY,
    Calls,
    Stub,
    collect,
    message,
    serving,
    timer_set,
)

pytestmark = pytest.mark.anyio


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


class Waiting:
    """Handlers that wait until they are released or cancelled."""

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


async def test_leaving_the_block_lets_running_calls_end() -> None:
    handler = Waiting()
    leave = asyncio.Event()
    ports: asyncio.Queue[int] = asyncio.Queue()

    async def serve() -> None:
        async with gyr.Server([Calls(unary=handler.unary)]) as server:
            ports.put_nowait(await server.listen("127.0.0.1:0"))
            await leave.wait()

    async with asyncio.timeout(SAFETY_NET_S):
        serving_task = asyncio.create_task(serve())
        async with gyr.Channel(f"127.0.0.1:{await ports.get()}") as channel:
            call = Stub(channel).unary(message(b"x"))
            await handler.started.wait()
            leave.set()
            await asyncio.sleep(0)
            assert not serving_task.done()
            handler.release.set()
            assert (await call).value == b"x"
            await serving_task


async def test_stop_waits_for_running_calls_and_takes_no_new_ones() -> None:
    handler = Waiting()
    async with serving(unary=handler.unary) as stub:
        call = stub.unary(message(b"x"))
        await handler.started.wait()
        stopping = asyncio.create_task(stub.served.server.stop())
        await asyncio.sleep(0)
        # The client hears of it and looks for another connection; there is none.
        async with stub.served.channel() as other:
            with pytest.raises(gyr.Unavailable):
                await Stub(other).unary(message())
        assert not stopping.done()
        assert not call.done()
        handler.release.set()
        assert (await call).value == b"x"
        await stopping
        await stub.served.server.wait_closed()


async def test_an_idle_connection_does_not_delay_the_end() -> None:
    async with serving(unary=echo) as stub:
        await stub.unary(message())
        await stub.served.server.stop(grace=20)
        with pytest.raises(gyr.Unavailable):
            await stub.unary(message())


@pytest.mark.parametrize("grace", [0, 5])
async def test_what_runs_after_the_grace_is_cancelled(grace: float) -> None:
    handler = Waiting()
    clock = Clock()
    async with serving(clock=clock, unary=handler.unary) as stub:
        call = stub.unary(message())
        await handler.started.wait()
        stopping = asyncio.create_task(stub.served.server.stop(grace=grace))
        if grace:
            await timer_set(clock, grace)
            clock.advance(grace)
        await stopping
        assert handler.cancelled.is_set()
        assert (await call.status()).code == gyr.StatusCode.CANCELLED


async def test_stopping_again_waits_for_the_same_end_and_a_shorter_grace_counts() -> None:
    handler = Waiting()
    async with serving(unary=handler.unary) as stub:
        call = stub.unary(message())
        await handler.started.wait()
        first = asyncio.create_task(stub.served.server.stop(grace=1000))
        await asyncio.sleep(0)
        longer = asyncio.create_task(stub.served.server.stop(grace=2000))
        await asyncio.sleep(0)
        assert not first.done()
        await stub.served.server.stop(grace=0)
        await asyncio.gather(first, longer)
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        await stub.served.server.stop()


async def test_cancelling_who_waits_for_the_stop_does_not_undo_it() -> None:
    handler = Waiting()
    async with serving(unary=handler.unary) as stub:
        call = stub.unary(message())
        await handler.started.wait()
        waiting = asyncio.create_task(stub.served.server.stop(grace=1000))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        with pytest.raises(RuntimeError, match="stopped"):
            await stub.served.server.listen("127.0.0.1:0")
        handler.release.set()
        await call
        await stub.served.server.wait_closed()


async def test_a_handler_may_stop_its_server() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def shut_down(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        tasks.append(asyncio.create_task(stub.served.server.stop(grace=1000)))
        await asyncio.sleep(0)
        return message(b"bye")

    async with serving(unary=shut_down) as stub:
        assert (await stub.unary(message())).value == b"bye"
        await stub.served.server.wait_closed()
        await asyncio.wait(tasks)


async def test_a_handler_that_waits_for_the_stop_is_cancelled_by_it() -> None:
    async def shut_down(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await stub.served.server.stop(grace=5)
        return message(b"never")

    clock = Clock()
    async with serving(clock=clock, unary=shut_down) as stub:
        call = stub.unary(message())
        await timer_set(clock, 5)
        clock.advance(5)
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        await stub.served.server.wait_closed()


async def test_a_handler_that_does_not_end_does_not_hold_the_stop_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = asyncio.Event()
    release = asyncio.Event()
    ended = asyncio.Event()

    async def stubborn(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        ended.set()
        return request

    clock = Clock()
    async with serving(clock=clock, unary=stubborn) as stub:
        call = stub.unary(message())
        await started.wait()
        stopping = asyncio.create_task(stub.served.server.stop(grace=0))
        for _ in ("cancelled", "dropped"):
            await timer_set(clock, 1)
            assert not stopping.done()
            clock.advance(1)
        await stopping
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        release.set()
        await ended.wait()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "1 handler" in record.getMessage()


async def test_a_stream_that_runs_ends_with_its_last_reply_when_the_server_stops() -> None:
    async def count(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        for number in range(100):
            yield message(b"%d" % number)
            await asyncio.sleep(0)

    async with serving(server_stream=count) as stub:
        call = stub.server_stream(message())
        assert await call.receive() == message(b"0")
        stopping = asyncio.create_task(stub.served.server.stop())
        assert await collect(call) == [b"%d" % number for number in range(1, 100)]
        assert (await call.status()).ok
        await stopping


async def test_a_stopped_server_is_not_started_again() -> None:
    async with serving(unary=echo) as stub:
        await stub.served.server.stop()
        with pytest.raises(RuntimeError, match="stopped"):
            await stub.served.server.listen("127.0.0.1:0")


async def test_a_server_that_never_listened_stops() -> None:
    server = gyr.Server([Calls()])
    await server.stop()
    await server.wait_closed()


async def test_the_end_of_many_connections() -> None:
    async with serving(unary=echo) as stub:
        channels = [stub.served.channel() for _ in range(20)]
        for channel in channels:
            await Stub(channel).unary(message())
        assert "20 connections" in repr(stub.served.server)
        await stub.served.server.stop()
        assert "0 connections" in repr(stub.served.server)
        for channel in channels:
            await channel.close()


async def test_calls_go_on_while_a_server_on_the_same_loop_is_replaced() -> None:
    async with asyncio.timeout(SAFETY_NET_S):
        old = gyr.Server([Calls(unary=echo)])
        port = await old.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            stub = Stub(channel)
            await stub.unary(message())
            # The old one stops listening at once, so that the new one can take its place; uvloop
            # closes a socket some turns later.
            stopping = asyncio.create_task(old.stop())
            for _ in range(10):
                await asyncio.sleep(0)
            async with gyr.Server([Calls(unary=echo)]) as new:
                await new.listen(f"127.0.0.1:{port}")
                await stopping
                reply = await stub.unary(message(b"x"), wait_for_ready=True)
                assert reply.value == b"x"


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        ([object()], "is no service"),
        ([Calls], "pass an instance"),
        ([Calls(), Calls()], "served twice"),
        ([Calls(unary="text")], "a handler is a function"),
    ],
    ids=["object", "class", "twice", "text"],
)
async def test_services_that_are_none_are_refused(services: Any, problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        gyr.Server(services)


def definition(*methods: gyr.Method[Any, Any]) -> gyr.ServiceDefinition:
    return gyr.ServiceDefinition(SERVICE, methods)


class Generated(gyr.Service):
    """As the generator writes it: every method stands in for one to come."""

    __gyr_service__: ClassVar = definition(UNARY, SERVER_STREAM)

    @gyr.placeholder
    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise AssertionError("what stands in for a handler is not to be called")

    @gyr.placeholder
    async def server_stream(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        raise AssertionError("what stands in for a handler is not to be called")
        yield message()


class First(Generated):
    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(b"first")


class Redefined(First):
    """The same service with a method more, which has its handler right here."""

    __gyr_service__: ClassVar = definition(UNARY, SERVER_STREAM, CLIENT_STREAM)

    async def client_stream(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        return message(b"redefined")


async def test_of_classes_that_define_one_service_the_most_derived_has_its_way() -> None:
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([Redefined()]) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            stub = Stub(channel)
            assert (await stub.unary(message())).value == b"first"
            assert (await stub.client_stream([])).value == b"redefined"
            with pytest.raises(gyr.Unimplemented, match="there is no method"):
                await collect(stub.server_stream(message()))


class Written(gyr.Service):
    """By hand: definition and handlers in one class."""

    __gyr_service__: ClassVar = definition(UNARY, SERVER_STREAM, CLIENT_STREAM)

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(b"written")

    @gyr.placeholder
    def server_stream(self, request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        raise AssertionError("what stands in for a handler is not to be called")

    @functools.wraps(Generated.unary)
    async def client_stream(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        return message(b"wrapped")


async def test_a_service_written_by_hand_has_its_handlers_where_it_is_defined() -> None:
    async with asyncio.timeout(SAFETY_NET_S), serve(Written()) as channel:
        stub = Stub(channel)
        assert (await stub.unary(message())).value == b"written"
        # It took the attributes of a placeholder over, and is none.
        assert (await stub.client_stream([])).value == b"wrapped"
        for call in (stub.server_stream(message()), stub.bidi([])):
            with pytest.raises(gyr.Unimplemented, match="there is no method"):
                await collect(call)


async def test_one_service_of_two_objects_is_refused_however_they_are_related() -> None:
    with pytest.raises(ValueError, match="served twice"):
        gyr.Server([First(), Redefined()])


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrent_streams": 0},
        {"max_receive_bytes": -1},
        {"max_metadata_bytes": 10},
        {"stream_window": 10},
        {"compression": "lzma"},
        {"max_workers": 0},
        {"grace": -1.0},
        {"max_send_bytes": -1},
    ],
    ids=str,
)
async def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        gyr.Server([Calls()], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"default_timeout": -1.0},
        {"max_receive_bytes": -1},
        {"max_metadata_bytes": 10},
        {"stream_window": 10},
        {"compression": "lzma"},
        {"connect_timeout": 0.0},
        {"max_send_bytes": -1},
        {"user_agent": "line\nbreak"},
        {"authority": "blank in it"},
    ],
    ids=str,
)
async def test_options_of_a_channel_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=name):
        gyr.Channel("127.0.0.1:1", **options)


async def test_several_services_on_one_server() -> None:
    other = gyr.Method("tests.Other", "Unary", "unary", UNARY.pattern, BytesValue, BytesValue)

    class Other(gyr.Service):
        __gyr_service__ = gyr.ServiceDefinition("tests.Other", (other,))

        async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            raise gyr.Unimplemented(ctx.method)

    class Overriding(Other):
        async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return message(b"other")

    async with (
        asyncio.timeout(SAFETY_NET_S),
        serve(Calls(unary=echo), Overriding()) as channel,
    ):
        assert (await Stub(channel).unary(message(b"x"))).value == b"x"
        call = gyr.UnaryUnary[BytesValue, BytesValue](channel, other)
        assert (await call(message())).value == b"other"
