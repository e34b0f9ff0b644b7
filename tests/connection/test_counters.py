"""How often each limit was met, in the figures of connections, servers and channels."""

from __future__ import annotations

import asyncio
import threading

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon import stats
from gyrfalcon.testing import serve
from tests.call.service import SAFETY_NET_S, UNARY, Calls, message, serving

pytestmark = pytest.mark.anyio


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def test_a_limit_is_counted_where_it_was_met() -> None:
    async with serving({"max_receive_bytes": 100}, unary=echo) as stub:
        for _ in range(2):
            with pytest.raises(gyr.ResourceExhausted):
                await stub.unary(message(bytes(200)))
        await stub.unary(message(b"small"))
        server = stub.served.server.stats()
        connection = stats.find_connection(server.connections[0])
        assert connection is not None
        assert (server.limits, connection.limits) == (
            {"max_receive_bytes": 2},
            {"max_receive_bytes": 2},
        )
        assert stub.channel.stats().limits == {}


async def test_messages_that_inflate_over_the_limit_are_counted() -> None:
    async with serving({"max_receive_bytes": 100}, {"compression": "gzip"}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted):
            await stub.unary(message(bytes(2000)))
        assert stub.served.server.stats().limits == {"max_receive_bytes": 1}


async def test_a_channel_counts_its_own() -> None:
    async with serving(None, {"max_send_bytes": 10}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted):
            await stub.unary(message(bytes(200)))
        assert stub.channel.stats().limits == {"max_send_bytes": 1}
        assert stub.served.server.stats().limits == {}


async def test_metadata_over_the_limit_is_counted_at_either_end() -> None:
    async def much(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        ctx.trailing_metadata["big"] = "x" * 4000
        return request

    async with serving(
        {"max_metadata_bytes": 1024}, {"max_metadata_bytes": 1024}, unary=much
    ) as stub:
        with pytest.raises(gyr.ResourceExhausted):
            await stub.unary(message(), metadata={"big": "x" * 2000})
        assert stub.served.server.stats().limits == {"max_metadata_bytes": 1}
        with pytest.raises(gyr.ResourceExhausted):
            await stub.unary(message())
        assert stub.channel.stats().limits == {"max_metadata_bytes": 1}


async def test_deadlines_that_passed_are_counted_at_either_end() -> None:
    clock = gyr.ManualClock()
    started = asyncio.Event()

    async def hang(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        await asyncio.Event().wait()
        return request

    async with serving(None, None, clock, unary=hang) as stub:
        call = stub.unary(message(), timeout=5)
        await started.wait()
        clock.advance(5)
        assert (await call.status()).code is gyr.StatusCode.DEADLINE_EXCEEDED
        assert stub.channel.stats().limits == {"timeout": 1}
        while stub.served.server.stats().calls.failed == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert stub.served.server.stats().limits == {"timeout": 1}


async def test_what_was_counted_outlives_its_connection() -> None:
    async with serving({"max_receive_bytes": 100}, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted):
            await stub.unary(message(bytes(200)))
        await stub.channel.close()
        server = stub.served.server
        while server.stats().connections:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert server.stats().limits == {"max_receive_bytes": 1}


def test_calls_that_no_thread_has_time_for_are_counted() -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        started.set()
        go_on.wait(SAFETY_NET_S)
        return request

    served = serve(Calls(unary=slow), server_options={"max_workers": 1, "max_waiting_calls": 0})
    with served as channel:
        method = gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
        first = method.future(message())
        assert started.wait(SAFETY_NET_S)
        refused = [method.future(message()).exception() for _ in range(3)]
        go_on.set()
        first.result()
        assert [type(error) for error in refused] == [gyr.ResourceExhausted] * 3
        assert served.blocking_server.stats().limits == {"max_waiting_calls": 3}
        assert channel.stats().limits == {}
