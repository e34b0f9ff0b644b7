"""Spans and metrics of each way that a call can end: four patterns, both faces."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import Clock, serve
from tests.blocking.service import BlockingStub
from tests.call.service import SAFETY_NET_S, Calls, Stub, message
from tests.telemetry.recorder import Recorder, ids, status_of

TARGET = "dns:///192.0.2.1:50051"
PATTERNS = {
    "unary": "tests.Calls/Unary",
    "server_stream": "tests.Calls/ServerStream",
    "client_stream": "tests.Calls/ClientStream",
    "bidi": "tests.Calls/Bidi",
}
OUTCOMES = ("OK", "NOT_FOUND", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED")

# Each call has two messages on a side that streams, one elsewhere: BytesValue of 3 bytes is 5 long.
SIZE = 5


class Handlers:
    """The four methods; `end` is what comes of them: a status, or waiting for the client."""

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome
        self.started = threading.Event()
        self.never = threading.Event()

    def fail(self) -> None:
        """Raise what the outcome wants."""
        self.started.set()
        if self.outcome == "NOT_FOUND":
            raise gyr.NotFound("no such thing")
        if self.outcome == "UNKNOWN":
            raise ZeroDivisionError("a secret")

    async def end(self) -> None:
        self.fail()
        if self.outcome in ("CANCELLED", "DEADLINE_EXCEEDED"):
            await asyncio.Event().wait()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await self.end()
        return message(b"abc")

    async def server_stream(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        await self.end()
        for _ in range(2):
            yield message(b"abc")

    async def client_stream(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        async for _ in requests:
            pass
        await self.end()
        return message(b"abc")

    async def bidi(
        self, requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for _ in requests:
            pass
        await self.end()
        for _ in range(2):
            yield message(b"abc")

    def service(self) -> Calls:
        return Calls(**{pattern: getattr(self, pattern) for pattern in PATTERNS})


def requests_for(pattern: str) -> Any:
    if pattern in ("unary", "server_stream"):
        return message(b"abc")
    return iter([message(b"abc"), message(b"abc")])


async def make_async(stub: Stub, pattern: str, timeout: float | None) -> Any:
    """A call, before anybody waits for its end, and how to wait."""
    return getattr(stub, pattern)(requests_for(pattern), timeout=timeout)


async def wait_async(call: Any, pattern: str) -> None:
    if pattern in ("unary", "client_stream"):
        await call
    else:
        async for _ in call:
            pass


async def run_async(handlers: Handlers, recorder: Recorder, pattern: str) -> None:
    """Make one call on the asyncio face, and stop everything."""
    clock = Clock()
    timeout = 10.0 if handlers.outcome == "DEADLINE_EXCEEDED" else None
    served = serve(handlers.service(), clock=clock, **recorder.options())
    async with asyncio.timeout(SAFETY_NET_S), served as channel:
        call = await make_async(Stub(channel), pattern, timeout)
        waiting = asyncio.create_task(wait_async(call, pattern))
        await asyncio.to_thread(handlers.started.wait, SAFETY_NET_S)
        if handlers.outcome == "CANCELLED":
            call.cancel()
        elif handlers.outcome == "DEADLINE_EXCEEDED":
            clock.advance(10.0)
        if handlers.outcome == "OK":
            await waiting
        else:
            with pytest.raises(gyr.RpcError):
                await waiting


def run_blocking(handlers: Handlers, recorder: Recorder, pattern: str) -> None:
    """Make one call on the blocking face, and stop everything."""
    clock = Clock()
    timeout = 10.0 if handlers.outcome == "DEADLINE_EXCEEDED" else None
    with serve(handlers.service(), clock=clock, **recorder.options()) as channel:
        method = getattr(BlockingStub(channel), pattern)
        future = method.future(requests_for(pattern), timeout=timeout)
        assert handlers.started.wait(SAFETY_NET_S)
        if handlers.outcome == "CANCELLED":
            future.cancel()
        elif handlers.outcome == "DEADLINE_EXCEEDED":
            clock.advance(10.0)
        if handlers.outcome == "OK":
            future.result(SAFETY_NET_S)
        else:
            with pytest.raises((gyr.RpcError, BaseException)):
                future.result(SAFETY_NET_S)


def run(face: str, handlers: Handlers, recorder: Recorder, pattern: str) -> None:
    if face == "asyncio":
        asyncio.run(run_async(handlers, recorder, pattern))
    else:
        run_blocking(handlers, recorder, pattern)


def expected_statuses(outcome: str) -> tuple[Any, Any]:
    """What the spans of client and server say."""
    code = gyr.StatusCode[outcome]
    client_error = {
        "NOT_FOUND": "gyrfalcon.rpc.errors.NotFound",
        "UNKNOWN": "gyrfalcon.rpc.errors.Unknown",
        "CANCELLED": "gyrfalcon.rpc.errors.Cancelled",
        "DEADLINE_EXCEEDED": "gyrfalcon.rpc.errors.DeadlineExceeded",
    }
    server_error = {
        "UNKNOWN": "ZeroDivisionError",
        "DEADLINE_EXCEEDED": "gyrfalcon.rpc.errors.DeadlineExceeded",
    }
    if outcome == "OK":
        return ("UNSET", 0, []), ("UNSET", 0, [])
    server: tuple[str, int, list[str]] = ("UNSET", int(code), [])
    if outcome in server_error:
        server = ("ERROR", int(code), [server_error[outcome]])
    return ("ERROR", int(code), [client_error[outcome]]), server


def expected_metrics(pattern: str, outcome: str) -> dict[str, dict[tuple[str, ...], int]]:
    name = PATTERNS[pattern]
    sent = SIZE * (2 if pattern in ("client_stream", "bidi") else 1)
    received = 0
    if outcome == "OK":
        received = SIZE * (2 if pattern in ("server_stream", "bidi") else 1)
    begun, client, server = (name, TARGET), (name, TARGET, outcome), (name, outcome)
    return {
        "grpc.client.attempt.started": {begun: 1},
        "grpc.client.attempt.duration": {client: 1},
        "grpc.client.attempt.sent_total_compressed_message_size": {client: sent},
        "grpc.client.attempt.rcvd_total_compressed_message_size": {client: received},
        "grpc.client.call.duration": {client: 1},
        "grpc.server.call.started": {(name,): 1},
        "grpc.server.call.duration": {server: 1},
        "grpc.server.call.sent_total_compressed_message_size": {server: received},
        "grpc.server.call.rcvd_total_compressed_message_size": {server: sent},
    }


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("face", ["asyncio", "blocking"])
def test_a_call_has_its_spans_and_metrics(face: str, pattern: str, outcome: str) -> None:
    handlers, recorder = Handlers(outcome), Recorder()
    run(face, handlers, recorder, pattern)
    client, server = recorder.spans("CLIENT"), recorder.spans("SERVER")
    assert [span.name for span in (*client, *server)] == [PATTERNS[pattern]] * 2
    assert (status_of(client[0]), status_of(server[0])) == expected_statuses(outcome)
    assert server[0].parent is not None
    assert server[0].parent.span_id == ids(client[0]).span_id
    assert ids(server[0]).trace_id == ids(client[0]).trace_id
    assert client[0].parent is None
    assert recorder.metrics() == expected_metrics(pattern, outcome)


@pytest.mark.parametrize("face", ["asyncio", "blocking"])
def test_what_the_attributes_of_spans_are(face: str) -> None:
    recorder = Recorder()
    run(face, Handlers("OK"), recorder, "unary")
    common = {"rpc.system.name": "grpc", "rpc.method": "tests.Calls/Unary"}
    net = {
        "network.transport": "tcp",
        "network.type": "ipv4",
        "rpc.response.status_code": "OK",
    }
    server = dict(recorder.spans("SERVER")[0].attributes or {})
    port = server.pop("network.peer.port")
    assert isinstance(port, int)
    assert dict(recorder.spans("CLIENT")[0].attributes or {}) == {
        **common,
        **net,
        "server.address": "192.0.2.1",
        "server.port": 50051,
        "network.peer.address": "192.0.2.1",
        "network.peer.port": 50051,
    }
    assert server == {**common, **net, "network.peer.address": "192.0.2.254"}


def def_handlers(*, fails: bool) -> dict[str, Callable[..., Any]]:
    """The four methods as `def` handlers."""

    def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if fails:
            raise gyr.Internal("broken")
        return message(b"abc")

    def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        if fails:
            raise gyr.Internal("broken")
        yield message(b"abc")
        yield message(b"abc")

    def client_stream(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        for _ in requests:
            pass
        return unary(message(), ctx)

    def bidi(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for _ in requests:
            pass
        yield from server_stream(message(), ctx)

    return {
        "unary": unary,
        "server_stream": server_stream,
        "client_stream": client_stream,
        "bidi": bidi,
    }


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_def_handlers_are_measured_like_others(pattern: str, fails: bool) -> None:
    recorder = Recorder()
    with serve(Calls(**def_handlers(fails=fails)), **recorder.options()) as channel:
        future = getattr(BlockingStub(channel), pattern).future(requests_for(pattern))
        error = future.exception(SAFETY_NET_S)
    assert (type(error) is gyr.Internal) == fails
    outcome = "INTERNAL" if fails else "OK"
    error_types = ["gyrfalcon.rpc.errors.Internal"] if fails else []
    status = ("ERROR" if fails else "UNSET", 13 if fails else 0, error_types)
    assert [status_of(span) for span in recorder.spans()] == [status, status]
    assert recorder.metrics() == expected_metrics(pattern, outcome)
