"""Load reports: what goes with a call, and what is streamed beside the calls."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.services import LoadReport, Orca
from gyrfalcon.services.orca import OpenRcaServiceStub, orca_pb2
from gyrfalcon.testing import Clock, serve
from tests.call.service import SAFETY_NET_S, message, serving
from tests.services.serving import joined

pytestmark = pytest.mark.anyio

FULL = LoadReport(
    cpu_utilization=1.25,
    memory_utilization=0.5,
    application_utilization=2.5,
    calls_per_second=1000.5,
    errors_per_second=0.25,
    utilization={"disk": 0.75},
    request_cost={"rows": 3456.0},
    named_metrics={"temperature": -40.0},
)


def every(seconds: int, *costs: str) -> orca_pb2.OrcaLoadReportRequest:
    request = orca_pb2.OrcaLoadReportRequest(request_cost_names=costs)
    request.report_interval.seconds = seconds
    return request


def received(message: Any) -> LoadReport:
    assert message is not None
    return LoadReport.from_message(message)


# ---------------------------------------------------------------------- with a call


@pytest.mark.parametrize("report", [LoadReport(), FULL], ids=["empty", "full"])
@pytest.mark.parametrize("threaded", [False, True], ids=["async", "def"])
async def test_a_report_goes_with_the_status(report: LoadReport, threaded: bool) -> None:
    async def answer(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        LoadReport(cpu_utilization=0.125).attach(ctx)
        report.attach(ctx)
        return request

    def answer_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        report.attach(ctx)
        return request

    async with serving(unary=answer_in_thread if threaded else answer) as stub:
        call = stub.unary(message())
        await call
        trailing = await call.trailing_metadata()
        assert LoadReport.from_metadata(trailing) == report
        assert trailing.keys() == [LoadReport.KEY]


async def test_a_report_goes_with_an_error_too() -> None:
    async def answer(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        FULL.attach(ctx)
        raise gyr.Unavailable("overloaded")

    async with serving(unary=answer) as stub:
        with pytest.raises(gyr.Unavailable) as caught:
            await stub.unary(message())
        assert LoadReport.from_metadata(caught.value.trailing_metadata) == FULL


@pytest.mark.parametrize("metadata", [{}, {LoadReport.KEY: b"\xff\xff"}], ids=["none", "garbage"])
def test_where_there_is_no_report_none_is_found(metadata: dict[str, bytes]) -> None:
    assert LoadReport.from_metadata(gyr.Metadata(metadata)) is None


def test_what_a_peer_reports_out_of_range_is_left_out() -> None:
    message = FULL.to_message()
    message.cpu_utilization = -1
    message.mem_utilization = 1.5
    message.eps = math.nan
    message.utilization["tape"] = 7
    found = LoadReport.from_message(message)
    assert (found.cpu_utilization, found.memory_utilization, found.errors_per_second) == (0, 0, 0)
    assert (found.utilization, found.named_metrics) == ({"disk": 0.75}, FULL.named_metrics)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"cpu_utilization": -0.5}, "cpu_utilization=-0.5 is out of range"),
        ({"calls_per_second": math.nan}, "calls_per_second=nan is out of range"),
        ({"memory_utilization": 1.5}, "memory_utilization=1.5 is out of range"),
        ({"utilization": {"disk": 2}}, r"utilization\['disk'\]=2 is out of range"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        LoadReport(**fields)


# ---------------------------------------------------------------------- beside the calls


async def waited_for(clock: Clock, when: float) -> None:
    while clock.next_timer != when:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.mark.parametrize(("asked", "interval"), [(1, 10), (60, 60)])
async def test_reports_come_at_once_and_once_an_interval(asked: int, interval: int) -> None:
    """`min_interval` is 10 seconds; a client that asks for more of them gets fewer."""
    clock = Clock()
    orca = Orca(min_interval=10, clock=clock)
    async with asyncio.timeout(SAFETY_NET_S), serve(orca) as channel:
        call = OpenRcaServiceStub(channel).stream_core_metrics(every(asked))
        assert received(await call.receive()) == LoadReport()
        orca.report = FULL
        await waited_for(clock, clock.time() + interval)
        clock.advance(interval)
        assert received(await call.receive()) == FULL
        await waited_for(clock, clock.time() + interval)
        call.cancel()


async def test_only_the_costs_that_were_asked_for_are_told() -> None:
    orca = Orca(LoadReport(request_cost={"rows": 1.0, "bytes": 2.0}))
    async with joined(orca) as (_, channel):
        stub = OpenRcaServiceStub(channel)
        for names, costs in (((), {"rows": 1.0, "bytes": 2.0}), (("rows", "x"), {"rows": 1.0})):
            async with stub.stream_core_metrics(every(60, *names)) as call:
                assert received(await call.receive()).request_cost == costs


async def test_streams_end_when_the_server_drains() -> None:
    async with joined(Orca()) as (server, channel):
        call = OpenRcaServiceStub(channel).stream_core_metrics(every(60))
        await call.receive()
        await server.stop()
        with pytest.raises(gyr.Unavailable, match="the server shuts down"):
            await call.receive()


async def test_streams_over_the_limit_are_refused_and_places_come_back() -> None:
    async with joined(Orca(max_watchers=1)) as (_, channel):
        stub = OpenRcaServiceStub(channel)
        first = stub.stream_core_metrics(every(60))
        await first.receive()
        with pytest.raises(gyr.ResourceExhausted, match="max_watchers=1"):
            await stub.stream_core_metrics(every(60)).receive()
        first.cancel()
        while True:
            try:
                async with stub.stream_core_metrics(every(60)) as call:
                    assert received(await call.receive()) == LoadReport()
                break
            except gyr.ResourceExhausted:
                pass  # the server has not heard of the cancellation


@pytest.mark.parametrize("options", [{"min_interval": 0}, {"max_watchers": -1}], ids=str)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name}=.* is out of range"):
        Orca(**options)
