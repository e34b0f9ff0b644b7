"""What interceptors hear beside the calls that pass through them: attempts, answers, refusals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock
from tests.call.service import SAFETY_NET_S, SERVICE, message, serving


class Listening(gyr.Interceptor):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def attempt_started(self, call: gyr.InterceptedCall) -> None:
        self.heard.append(("started", call.sent_bytes))

    def attempt_ended(self, call: gyr.InterceptedCall, outcome: gyr.Outcome) -> None:
        self.heard.append(("ended", outcome.code.name, call.sent_bytes, call.received_bytes))

    def answered(self, call: gyr.InterceptedCall, outcome: gyr.Outcome) -> None:
        self.heard.append(("answered", outcome.code.name, call.sent_bytes, call.received_bytes))

    def refused(self, method: str, code: gyr.StatusCode, registered: bool) -> None:
        self.heard.append(("refused", method, code.name, registered))


class Failing(gyr.Interceptor):
    """Fails wherever it can."""

    def attempt_started(self, call: gyr.InterceptedCall) -> None:
        raise RuntimeError("attempt_started")

    def attempt_ended(self, call: gyr.InterceptedCall, outcome: gyr.Outcome) -> None:
        raise RuntimeError("attempt_ended")

    def answered(self, call: gyr.InterceptedCall, outcome: gyr.Outcome) -> None:
        raise RuntimeError("answered")

    def refused(self, method: str, code: gyr.StatusCode, registered: bool) -> None:
        raise RuntimeError("refused")


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def unserved(channel: gyr.Channel) -> gyr.UnaryUnary[BytesValue, BytesValue]:
    method = gyr.Method(SERVICE, "None", "none", gyr.Pattern.UNARY_UNARY, BytesValue, BytesValue)
    return gyr.UnaryUnary[BytesValue, BytesValue](channel, method)


@pytest.mark.anyio
async def test_each_side_hears_of_the_call_with_its_bytes() -> None:
    client, server = Listening(), Listening()
    options: dict[str, Any] = {
        "channel_options": {"interceptors": [client]},
        "server_options": {"interceptors": [server]},
    }
    async with serving(**options, unary=echo) as stub:
        await stub.unary(message(b"abc"))
    assert client.heard == [("started", 0), ("ended", "OK", 5, 5)]
    assert server.heard == [("answered", "OK", 5, 5)]


@pytest.mark.anyio
async def test_an_answer_is_told_as_it_came_out_of_all_interceptors() -> None:
    class Hiding(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            yield
            raise gyr.NotFound("nothing here")

    server = Listening()
    async with serving(server_options={"interceptors": [Hiding(), server]}, unary=echo) as stub:
        with pytest.raises(gyr.NotFound):
            await stub.unary(message(b"abc"))
    assert server.heard == [("answered", "NOT_FOUND", 0, 5)]


@pytest.mark.anyio
async def test_calls_that_reach_no_interceptor_are_told() -> None:
    server = Listening()
    async with serving(server_options={"interceptors": [server]}, unary=echo) as stub:
        with pytest.raises(gyr.Unimplemented):
            await unserved(stub.channel)(message())
    assert server.heard == [("refused", "/tests.Calls/None", "UNIMPLEMENTED", False)]


@pytest.mark.anyio
async def test_a_call_that_is_cancelled_before_its_request_came_is_told() -> None:
    server = Listening()
    two_requests = gyr.Method(
        SERVICE, "Unary", "unary", gyr.Pattern.STREAM_STREAM, BytesValue, BytesValue
    )
    async with (
        asyncio.timeout(SAFETY_NET_S),
        serving(server_options={"interceptors": [server]}, unary=echo) as stub,
    ):
        call = gyr.StreamStream[BytesValue, BytesValue](stub.channel, two_requests)()
        await stub.unary(message())  # the head of the first call has arrived before this one
        call.cancel()
        while len(server.heard) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert server.heard == [
        ("answered", "OK", 0, 0),
        ("refused", "/tests.Calls/Unary", "CANCELLED", True),
    ]


@pytest.mark.anyio
async def test_a_deadline_before_there_was_a_connection_ends_the_attempt() -> None:
    client, clock = Listening(), Clock()
    async with (
        asyncio.timeout(SAFETY_NET_S),
        serving(clock=clock, channel_options={"interceptors": [client]}, unary=echo) as stub,
    ):
        stub.served.faults.refuse_connections()
        call = stub.unary(message(b"abc"), timeout=5.0, wait_for_ready=True)
        clock.advance(5.0)
        with pytest.raises(gyr.DeadlineExceeded):
            await call
    assert client.heard == [("started", 0), ("ended", "DEADLINE_EXCEEDED", 0, 0)]


@pytest.mark.anyio
async def test_bytes_are_those_so_far() -> None:
    seen: list[tuple[int, int]] = []

    class Watching(gyr.Interceptor):
        def reply(self, call: gyr.InterceptedCall, message: BytesValue) -> BytesValue:
            seen.append((call.sent_bytes, call.received_bytes))
            return message

    async def bidi(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request

    async with serving(channel_options={"interceptors": [Watching()]}, bidi=bidi) as stub:
        call = stub.bidi()
        for _ in range(3):
            await call.send(message(b"abc"))
            await call.receive()
        await call.done_sending()
        assert await call.receive() is None
    assert seen == [(5, 5), (10, 10), (15, 15)]


@pytest.mark.anyio
async def test_an_error_in_a_hook_is_logged_and_the_call_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = Listening()
    options: dict[str, Any] = {
        "channel_options": {"interceptors": [Failing(), heard]},
        "server_options": {"interceptors": [Failing()]},
    }
    with caplog.at_level(logging.ERROR, "gyrfalcon"):
        async with serving(**options, unary=echo) as stub:
            assert await stub.unary(message(b"abc")) == message(b"abc")
            with pytest.raises(gyr.Unimplemented):
                await unserved(stub.channel)(message())
    assert [
        (record.name, str(record.exc_info[1])) for record in caplog.records if record.exc_info
    ] == [
        ("gyrfalcon.client", "attempt_started"),
        ("gyrfalcon.server", "answered"),
        ("gyrfalcon.client", "attempt_ended"),
        ("gyrfalcon.client", "attempt_started"),
        ("gyrfalcon.server", "refused"),
        ("gyrfalcon.client", "attempt_ended"),
    ]
    assert [one[0] for one in heard.heard] == ["started", "ended"] * 2


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        ("localhost:50051", "dns:///localhost:50051"),
        ("dns:localhost:50051", "dns:///localhost:50051"),
        ("DNS:///localhost", "dns:///localhost"),
        ("ipv4:192.0.2.1:50051,192.0.2.2:50051", "ipv4:192.0.2.1:50051,192.0.2.2:50051"),
        ("unix:///run/shop.sock", "unix:/run/shop.sock"),
        ("own:shop", "own:///shop"),
    ],
)
async def test_a_call_knows_its_target_with_its_scheme(target: str, canonical: str) -> None:
    seen: list[str | None] = []

    class Looking(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            seen.append(call.target)
            call.answer(message())
            return
            yield

    resolvers: Any = {"own": None}  # never asked: no call gets to a connection
    async with gyr.Channel(target, interceptors=[Looking()], resolvers=resolvers) as channel:
        await unserved(channel)(message())
    assert seen == [canonical]
