"""Trace context: in handlers, to other servers and from other clients."""

from __future__ import annotations

import asyncio
import logging

import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from opentelemetry import baggage, context, trace
from opentelemetry.propagators.textmap import TextMapPropagator

import gyrfalcon as gyr
from gyrfalcon.testing import serve
from tests.blocking.service import BlockingStub
from tests.call.service import SAFETY_NET_S, Calls, message, serving
from tests.telemetry.recorder import Recorder, ids

TRACE, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
TRACEPARENT = f"00-{TRACE:032x}-{PARENT:016x}-01"


def current_span_id() -> int:
    return trace.get_current_span().get_span_context().span_id


@pytest.mark.anyio
async def test_a_handler_runs_in_the_span_of_its_call_and_its_calls_are_children() -> None:
    recorder = Recorder()
    seen: list[int] = []

    async def last(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(current_span_id())
        return request

    async with serving(**recorder.options(), unary=last) as inner:

        async def first(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            seen.append(current_span_id())
            return await inner.unary(request)

        async with serving(**recorder.options(), unary=first) as outer:
            with recorder.tracer_provider.get_tracer("test").start_as_current_span("job"):
                await outer.unary(message())
                assert seen != []
                assert current_span_id() not in seen
    job, *calls = recorder.spans()
    assert [span.kind.name for span in calls] == ["CLIENT", "SERVER", "CLIENT", "SERVER"]
    span_ids = [ids(span).span_id for span in (job, *calls)]
    assert [span.parent.span_id if span.parent else None for span in calls] == span_ids[:-1]
    assert {ids(span).trace_id for span in calls} == {ids(job).trace_id}
    assert seen == [span_ids[2], span_ids[4]]


def test_a_def_handler_runs_in_the_span_of_its_call_and_its_calls_are_children() -> None:
    recorder = Recorder()
    seen: list[int] = []

    def last(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(current_span_id())
        return request

    with serve(Calls(unary=last), **recorder.options()) as inner:

        def first(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            seen.append(current_span_id())
            return BlockingStub(inner).unary(request)

        with serve(Calls(unary=first), **recorder.options()) as outer:
            BlockingStub(outer).unary(message())
    calls = recorder.spans()
    span_ids = [ids(span).span_id for span in calls]
    assert [span.kind.name for span in calls] == ["CLIENT", "SERVER", "CLIENT", "SERVER"]
    assert [span.parent.span_id if span.parent else None for span in calls] == [
        None,
        *span_ids[:-1],
    ]
    assert seen == [span_ids[1], span_ids[3]]


@pytest.mark.anyio
async def test_a_trace_of_another_client_is_continued() -> None:
    recorder = Recorder()
    found: list[object] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        found.append(baggage.get_baggage("tenant"))
        return request

    telemetry = {"interceptors": [recorder.server()]}
    async with serving(server_options=telemetry, unary=unary) as stub:
        await stub.unary(message(), metadata={"traceparent": TRACEPARENT, "baggage": "tenant=eu"})
    [span] = recorder.spans()
    assert span.parent is not None
    assert (ids(span).trace_id, span.parent.span_id) == (TRACE, PARENT)
    assert found == ["eu"]


@pytest.mark.anyio
async def test_a_span_that_was_current_when_the_server_started_is_no_parent() -> None:
    recorder = Recorder()

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    tracer = recorder.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("start of the program"):
        telemetry = {"interceptors": [recorder.server()]}
        async with serving(server_options=telemetry, unary=unary) as stub:
            await stub.unary(message())
    [served] = recorder.spans("SERVER")
    assert served.parent is None


@pytest.mark.anyio
async def test_trace_context_goes_in_the_w3c_form_and_replaces_what_the_caller_passed_on() -> None:
    recorder = Recorder()
    got: list[list[str | bytes]] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        got.append(ctx.metadata.get_all("traceparent"))
        return request

    telemetry = {"interceptors": [recorder.client()]}
    async with serving(channel_options=telemetry, unary=unary) as stub:
        await stub.unary(message(), metadata={"traceparent": TRACEPARENT})
    [span] = recorder.spans()
    own = ids(span)
    wanted = f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"
    assert got == [[wanted]]


class Unsendable(TextMapPropagator):
    """Writes a field that metadata cannot hold."""

    def extract(self, carrier, context=None, getter=None):  # type: ignore[no-untyped-def]
        return context

    def inject(self, carrier, context=None, setter=None):  # type: ignore[no-untyped-def]
        setter.set(carrier, "x-trace", "line\nbreak")

    @property
    def fields(self) -> set[str]:
        return {"x-trace"}


@pytest.mark.anyio
async def test_a_field_that_cannot_be_sent_costs_the_trace_not_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    telemetry = {"interceptors": [recorder.client(propagator=Unsendable())]}
    with caplog.at_level(logging.WARNING, "gyrfalcon.telemetry"):
        async with serving(channel_options=telemetry, unary=unary) as stub:
            assert await stub.unary(message(b"x")) == message(b"x")
    assert [record.name for record in caplog.records] == ["gyrfalcon.telemetry"]


@pytest.mark.anyio
async def test_telemetry_leaves_the_callers_context_as_it_was() -> None:
    recorder = Recorder()

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    async with serving(**recorder.options(), unary=unary) as stub:
        before = context.get_current()
        call = stub.unary(message())
        assert context.get_current() == before
        await call
        assert context.get_current() == before


@pytest.mark.anyio
async def test_concurrent_calls_keep_their_spans_apart() -> None:
    recorder = Recorder()
    together = asyncio.Barrier(5)
    seen: dict[bytes, int] = {}

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await together.wait()
        seen[request.value] = current_span_id()
        return request

    async with asyncio.timeout(SAFETY_NET_S), serving(**recorder.options(), unary=unary) as stub:
        await asyncio.gather(*(stub.unary(message(b"%d" % number)) for number in range(5)))
    assert set(seen.values()) == {ids(span).span_id for span in recorder.spans("SERVER")}
    assert len(seen) == 5
