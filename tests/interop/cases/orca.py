"""Load reports: with the status of a call, and beside the calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import gyrfalcon as gyr
from gyrfalcon.services import LoadReport, Orca
from gyrfalcon.services.orca import orca_pb2
from tests.interop.faces import Call, Face
from tests.interop.protos.grpc.testing.messages_pb2 import (
    ResponseParameters,
    SimpleRequest,
    StreamingOutputCallRequest,
    TestOrcaReport,
)

from .words import METHODS, OK, CaseFailed, expect

WITH_CALL = TestOrcaReport(
    cpu_utilization=0.8210,
    memory_utilization=0.5847,
    request_cost={"cost": 3456.32},
    utilization={"util": 0.30499},
)
BESIDE_CALLS = (
    TestOrcaReport(
        cpu_utilization=0.8210, memory_utilization=0.5847, utilization={"util": 0.30499}
    ),
    TestOrcaReport(cpu_utilization=0.29309, memory_utilization=0.2, utilization={"util": 0.2039}),
)

(STREAM_CORE_METRICS,) = Orca.__gyr_service__.methods

INTERVAL_S = 1
"""Between reports: what the peers' clients ask for, too."""
MOST_REPORTS = 10
"""A server that has not told the news by then does not tell it."""
CALL_S = 30.0


def report_of(asked: TestOrcaReport) -> LoadReport:
    return LoadReport(
        cpu_utilization=asked.cpu_utilization,
        memory_utilization=asked.memory_utilization,
        request_cost=dict(asked.request_cost),
        utilization=dict(asked.utilization),
    )


async def orca_per_rpc(face: Face) -> None:
    async with face.client() as client:
        request = SimpleRequest(orca_per_query_report=WITH_CALL)
        call = client.start(METHODS["UnaryCall"], request)
        end = await call.end()
        expect("status", (end.code, end.message), (OK, ""))
        found = LoadReport.from_metadata(gyr.Metadata(end.trailing))
        expect("report", found, report_of(WITH_CALL))


async def orca_oob(face: Face) -> None:
    async with face.client() as client:
        asked = orca_pb2.OrcaLoadReportRequest()
        asked.report_interval.seconds = INTERVAL_S
        reports = client.start(STREAM_CORE_METRICS, asked, timeout=CALL_S)
        call = client.start(METHODS["FullDuplexCall"], timeout=CALL_S)
        for report in BESIDE_CALLS:
            await call.send(
                StreamingOutputCallRequest(
                    orca_oob_report=report, response_parameters=[ResponseParameters(size=1)]
                )
            )
            expect("a reply came", await call.receive() is not None, True)
            await await_report(reports, report_of(report))
        await call.done_sending()
        expect("what follows the replies", await call.receive(), None)
        expect("status", (await call.end()).code, OK)
        reports.cancel()


async def await_report(reports: Call, wanted: LoadReport) -> None:
    last = None
    for _ in range(MOST_REPORTS):
        message = await reports.receive()
        if message is None:
            raise CaseFailed("the stream of reports ended")
        last = LoadReport.from_message(message)
        if last == wanted:
            return
    expect(f"the last of {MOST_REPORTS} reports", last, wanted)


CASES: dict[str, Callable[[Face], Awaitable[None]]] = {
    case.__name__: case for case in (orca_per_rpc, orca_oob)
}
