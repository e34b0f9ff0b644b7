"""Calls that take a turning: dropped, never read, made again, answered on the way, refused."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.testing import serve
from tests.blocking.service import BlockingStub
from tests.call.service import SAFETY_NET_S, SERVICE, Calls, Stub, message, serving
from tests.telemetry.recorder import Recorder, ids, messages_of, status_of

TARGET = "dns:///192.0.2.1:50051"
UNARY_NAME = "tests.Calls/Unary"
SENT = "grpc.client.attempt.sent_total_compressed_message_size"
RECEIVED = "grpc.client.attempt.rcvd_total_compressed_message_size"


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def without_end(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    while True:
        yield message(b"x" * 1000)


class Retrying(gyr.Interceptor):
    """Makes calls that are UNAVAILABLE again, without a pause."""

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        while outcome.code is gyr.StatusCode.UNAVAILABLE and outcome.retryable:
            outcome = yield gyr.Retry()


class Answering(gyr.Interceptor):
    """Answers without the server."""

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        call.answer(message(b"known"))
        return
        yield


# ---------------------------------------------------------------------- streams without an end


@pytest.mark.anyio
@pytest.mark.parametrize("replies", [0, 3])
async def test_a_stream_that_is_dropped_ends_its_spans(replies: int) -> None:
    recorder = Recorder()
    async with (
        asyncio.timeout(SAFETY_NET_S),
        serving(**recorder.options(), server_stream=without_end) as stub,
    ):
        call = stub.server_stream(message())
        for _ in range(replies):
            await call.receive()
        del call
        gc.collect()
        # As soon as the connection's events let go of the call, not when the channel is closed.
        while not recorder.spans("CLIENT"):  # noqa: ASYNC110
            await asyncio.sleep(0)
        [span] = recorder.spans("CLIENT")
    assert status_of(span) == ("ERROR", 1, ["gyrfalcon.rpc.errors.Cancelled"])
    assert [status_of(one) for one in recorder.spans("SERVER")] in ([], [("UNSET", 1, [])])
    assert recorder.metrics()["grpc.client.call.duration"] == {
        ("tests.Calls/ServerStream", TARGET, "CANCELLED"): 1
    }


@pytest.mark.anyio
async def test_a_stream_that_is_held_and_never_read_ends_its_spans_at_its_deadline() -> None:
    recorder = Recorder()
    async with (
        asyncio.timeout(SAFETY_NET_S),
        serving(**recorder.options(), server_stream=without_end) as stub,
    ):
        call = stub.server_stream(message(), timeout=0.05)
        assert (await call.status()).code is gyr.StatusCode.DEADLINE_EXCEEDED
        [span] = recorder.spans("CLIENT")
        assert status_of(span) == ("ERROR", 4, ["gyrfalcon.rpc.errors.DeadlineExceeded"])


def test_a_stream_that_threads_drop_ends_its_spans() -> None:
    recorder = Recorder()
    with serve(Calls(server_stream=without_end), **recorder.options()) as channel:
        call = BlockingStub(channel).server_stream(message())
        next(iter(call))
        del call
        gc.collect()
    assert [status_of(span)[1] for span in recorder.spans()] == [1, 1]


@pytest.mark.anyio
async def test_closing_the_channel_ends_spans() -> None:
    recorder = Recorder()
    async with serving(**recorder.options(), server_stream=without_end) as stub:
        call = stub.server_stream(message())
        await call.receive()
        await stub.channel.close()
        assert [status_of(span)[:2] for span in recorder.spans("CLIENT")] == [("ERROR", 1)]


# ---------------------------------------------------------------------- attempts


@pytest.mark.anyio
async def test_every_attempt_counts_and_the_call_counts_once() -> None:
    recorder = Recorder()
    left = [gyr.Unavailable("busy"), gyr.Unavailable("busy")]

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if left:
            raise left.pop()
        return request

    options = recorder.options()
    options["channel_options"]["interceptors"].append(Retrying())
    async with serving(**options, unary=unary) as stub:
        await stub.unary(message(b"abc"))
    [client], served = recorder.spans("CLIENT"), recorder.spans("SERVER")
    assert status_of(client) == ("UNSET", 0, [])
    assert [
        (event.name, dict(event.attributes or {}))
        for event in client.events
        if event.name == "retry"
    ] == [
        ("retry", {"grpc.previous-rpc-attempts": 1}),
        ("retry", {"grpc.previous-rpc-attempts": 2}),
    ]
    assert {span.parent.span_id for span in served if span.parent} == {ids(client).span_id}
    assert [status_of(span)[:2] for span in served] == [("ERROR", 14), ("ERROR", 14), ("UNSET", 0)]
    metrics = recorder.metrics()
    busy, fine = (UNARY_NAME, TARGET, "UNAVAILABLE"), (UNARY_NAME, TARGET, "OK")
    assert metrics["grpc.client.attempt.started"] == {(UNARY_NAME, TARGET): 3}
    assert metrics["grpc.client.attempt.duration"] == {busy: 2, fine: 1}
    assert metrics[SENT] == {busy: 10, fine: 5}
    assert metrics[RECEIVED] == {busy: 0, fine: 5}
    assert metrics["grpc.client.call.duration"] == {fine: 1}


@pytest.mark.anyio
async def test_a_call_that_goes_out_again_by_itself_has_two_attempts() -> None:
    recorder = Recorder()
    async with serving(**recorder.options(), unary=echo) as stub:
        stub.served.faults.refuse_streams(1)
        await stub.unary(message(b"abc"))
    metrics = recorder.metrics()
    refused, fine = (UNARY_NAME, TARGET, "UNAVAILABLE"), (UNARY_NAME, TARGET, "OK")
    assert metrics["grpc.client.attempt.started"] == {(UNARY_NAME, TARGET): 2}
    assert metrics["grpc.client.attempt.duration"] == {refused: 1, fine: 1}
    assert metrics["grpc.client.call.duration"] == {fine: 1}


@pytest.mark.anyio
async def test_a_call_that_an_interceptor_answers_makes_no_attempt() -> None:
    recorder = Recorder()
    telemetry = {"interceptors": [recorder.client(), Answering()]}
    async with serving(channel_options=telemetry, unary=echo) as stub:
        assert await stub.unary(message()) == message(b"known")
    assert [status_of(span) for span in recorder.spans()] == [("UNSET", 0, [])]
    assert recorder.metrics() == {"grpc.client.call.duration": {(UNARY_NAME, TARGET, "OK"): 1}}


@pytest.mark.anyio
async def test_a_call_without_a_connection_is_an_attempt() -> None:
    recorder = Recorder()
    async with serving(**recorder.options(), unary=echo) as stub:
        stub.served.faults.refuse_connections()
        with pytest.raises(gyr.Unavailable):
            await stub.unary(message())
    metrics = recorder.metrics()
    assert metrics["grpc.client.attempt.started"] == {(UNARY_NAME, TARGET): 1}
    assert metrics["grpc.client.attempt.duration"] == {(UNARY_NAME, TARGET, "UNAVAILABLE"): 1}
    attributes = recorder.spans("CLIENT")[0].attributes or {}
    assert "network.peer.address" not in attributes
    assert attributes["server.address"] == "192.0.2.1"


# ---------------------------------------------------------------------- sizes


@pytest.mark.anyio
async def test_sizes_are_those_of_the_compressed_messages() -> None:
    recorder = Recorder()
    text = message(b"a" * 100_000)
    options = recorder.options()
    options["server_options"]["compression"] = "gzip"
    options["channel_options"]["compression"] = "gzip"
    async with serving(**options, unary=echo) as stub:
        assert await stub.unary(text) == text
    metrics = recorder.metrics()
    [sent], [received] = metrics[SENT].values(), metrics[RECEIVED].values()
    assert 0 < sent < 1000
    assert 0 < received < 1000
    [served] = metrics["grpc.server.call.rcvd_total_compressed_message_size"].values()
    [replied] = metrics["grpc.server.call.sent_total_compressed_message_size"].values()
    assert (served, replied) == (sent, received)


@pytest.mark.anyio
async def test_large_messages_are_counted_whole() -> None:
    recorder = Recorder()
    text = message(b"a" * 1_000_000)
    async with serving(**recorder.options(), unary=echo) as stub:
        assert await stub.unary(text) == text
    key = (UNARY_NAME, TARGET, "OK")
    metrics = recorder.metrics()
    assert (metrics[SENT][key], metrics[RECEIVED][key]) == (text.ByteSize(), text.ByteSize())


# ---------------------------------------------------------------------- what no handler saw


def unserved(channel: gyr.Channel, name: str) -> gyr.UnaryUnary[BytesValue, BytesValue]:
    method = gyr.Method(SERVICE, name, "m", gyr.Pattern.UNARY_UNARY, BytesValue, BytesValue)
    return gyr.UnaryUnary[BytesValue, BytesValue](channel, method)


@pytest.mark.anyio
async def test_methods_that_are_not_served_are_other() -> None:
    recorder = Recorder()
    async with serving(server_options=recorder.options()["server_options"], unary=echo) as stub:
        for name in ("Made", "Up", "ByAttackers"):
            with pytest.raises(gyr.Unimplemented):
                await unserved(stub.channel, name)(message())
    assert recorder.metrics() == {
        "grpc.server.call.started": {("other",): 3},
        "grpc.server.call.duration": {("other", "UNIMPLEMENTED"): 3},
        "grpc.server.call.sent_total_compressed_message_size": {("other", "UNIMPLEMENTED"): 0},
        "grpc.server.call.rcvd_total_compressed_message_size": {("other", "UNIMPLEMENTED"): 0},
    }
    assert recorder.spans() == []


@pytest.mark.anyio
async def test_filters_decide_which_names_metrics_show() -> None:
    recorder = Recorder()
    options: dict[str, Any] = {
        "server_options": {
            "interceptors": [recorder.server(method_filter=lambda name: name.endswith("Up"))]
        },
        "channel_options": {
            "interceptors": [
                recorder.client(
                    method_filter=lambda name: name == UNARY_NAME,
                    target_filter=lambda target: target != TARGET,
                )
            ]
        },
    }
    async with serving(**options, unary=echo) as stub:
        await stub.unary(message())
        with pytest.raises(gyr.Unimplemented):
            await unserved(stub.channel, "Up")(message())
    metrics = recorder.metrics()
    assert metrics["grpc.server.call.started"] == {("other",): 1, ("tests.Calls/Up",): 1}
    assert metrics["grpc.client.attempt.started"] == {
        (UNARY_NAME, "other"): 1,
        ("other", "other"): 1,
    }
    assert [span.name for span in recorder.spans("CLIENT")] == [UNARY_NAME, "tests.Calls/Up"]


@pytest.mark.anyio
async def test_a_call_that_another_interceptor_refuses_is_measured() -> None:
    recorder = Recorder()

    class Guard(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            raise gyr.Unauthenticated("who are you?")
            yield

    telemetry = {"interceptors": [recorder.server(), Guard()]}
    async with serving(server_options=telemetry, unary=echo) as stub:
        with pytest.raises(gyr.Unauthenticated):
            await stub.unary(message())
    assert [status_of(span) for span in recorder.spans()] == [("UNSET", 16, [])]
    assert recorder.metrics()["grpc.server.call.duration"] == {(UNARY_NAME, "UNAUTHENTICATED"): 1}


@pytest.mark.anyio
async def test_a_reply_that_cannot_be_sent_is_measured_with_the_status_that_went() -> None:
    recorder = Recorder()
    options: dict[str, Any] = {"max_send_bytes": 10, "interceptors": [recorder.server()]}
    async with serving(server_options=options, unary=echo) as stub:
        with pytest.raises(gyr.ResourceExhausted):
            await stub.unary(message(b"x" * 100))
    key = (UNARY_NAME, "RESOURCE_EXHAUSTED")
    assert recorder.metrics()["grpc.server.call.duration"] == {key: 1}
    assert recorder.metrics()["grpc.server.call.sent_total_compressed_message_size"] == {key: 0}


# ---------------------------------------------------------------------- messages


@pytest.mark.anyio
async def test_messages_are_events_where_asked_for() -> None:
    async def bidi(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request

    sizes = [5, 6]
    for asked in (True, False):
        recorder = Recorder()
        async with serving(**recorder.options(message_events=asked), bidi=bidi) as stub:
            async for _ in stub.bidi([message(b"abc"), message(b"abcd")]):
                pass
        for span, out, back in (
            (recorder.spans("CLIENT")[0], "SENT", "RECEIVED"),
            (recorder.spans("SERVER")[0], "RECEIVED", "SENT"),
        ):
            found = messages_of(span)
            assert [one for one in found if one[0] == out] == [
                (out, number, size) for number, size in enumerate(sizes, 1) if asked
            ]
            assert [one for one in found if one[0] == back] == [
                (back, number, size) for number, size in enumerate(sizes, 1) if asked
            ]


@pytest.mark.anyio
async def test_one_interceptor_serves_several_channels() -> None:
    recorder = Recorder()
    telemetry = {"interceptors": [recorder.client()]}
    async with serving(channel_options=telemetry, unary=echo) as stub:
        other = stub.served.channel()
        await asyncio.gather(stub.unary(message()), Stub(other).unary(message()))
    assert recorder.metrics()["grpc.client.call.duration"] == {(UNARY_NAME, TARGET, "OK"): 2}
