"""Load reports, as gRPC's balancers take them (gRFC A51): with each call, or beside the calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from google.protobuf.message import DecodeError

import gyrfalcon as gyr

from .proto.xds.data.orca.v3 import orca_load_report_pb2
from .proto.xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport
from .proto.xds.service.orca.v3 import orca_pb2
from .proto.xds.service.orca.v3.orca_gyr import (
    OpenRcaServiceBlockingStub,
    OpenRcaServiceService,
    OpenRcaServiceStub,
)

__all__ = [
    "LoadReport",
    "OpenRcaServiceBlockingStub",
    "OpenRcaServiceStub",
    "Orca",
    "orca_load_report_pb2",
    "orca_pb2",
]

# Of what has no upper end: a machine can be asked for more than it has.
_UNBOUNDED = ("cpu_utilization", "application_utilization", "calls_per_second", "errors_per_second")
_FIELDS = {
    "cpu_utilization": "cpu_utilization",
    "memory_utilization": "mem_utilization",
    "application_utilization": "application_utilization",
    "calls_per_second": "rps_fractional",
    "errors_per_second": "eps",
}
_MAPS = ("utilization", "request_cost", "named_metrics")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """How loaded a server is, and what a call cost it. 0, and an empty mapping, stand for unknown.

    - `cpu_utilization`, `application_utilization`: at least 0, above 1 when overloaded;
    - `memory_utilization`: 0 to 1; `utilization`: that of other resources by name, 0 to 1;
    - `calls_per_second`, `errors_per_second`: at least 0;
    - `request_cost`: by name, of one call; `named_metrics`: the application's own, any number.

    ValueError, with the name, for what is out of range.
    """

    KEY: ClassVar[str] = "endpoint-load-metrics-bin"
    """The key under which it stands in trailing metadata."""

    cpu_utilization: float = 0.0
    memory_utilization: float = 0.0
    application_utilization: float = 0.0
    calls_per_second: float = 0.0
    errors_per_second: float = 0.0
    utilization: Mapping[str, float] = field(default_factory=dict)
    request_cost: Mapping[str, float] = field(default_factory=dict)
    named_metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _UNBOUNDED:
            value = getattr(self, name)
            if not value >= 0:
                raise ValueError(f"{name}={value!r} is out of range: it must be at least 0")
        shares = {"memory_utilization": self.memory_utilization}
        shares |= {f"utilization[{key!r}]": value for key, value in self.utilization.items()}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value!r} is out of range: it must be 0 to 1")

    def attach(self, ctx: gyr.ServerContext) -> None:
        """Send it with the status of this call, in place of one that was attached before."""
        ctx.trailing_metadata[self.KEY] = self.to_message().SerializeToString()

    @classmethod
    def from_metadata(cls, trailing: gyr.Metadata) -> LoadReport | None:
        """What came with the status of a call; None when there is nothing, or no report.

        Of a report that came, what is out of range is left out.
        """
        data = trailing.get(cls.KEY)
        if not isinstance(data, bytes):
            return None
        try:
            return cls.from_message(OrcaLoadReport.FromString(data))
        except DecodeError:
            return None

    def to_message(self) -> OrcaLoadReport:
        """As protobuf has it."""
        message = OrcaLoadReport(**{theirs: getattr(self, own) for own, theirs in _FIELDS.items()})
        for name in _MAPS:
            getattr(message, name).update(getattr(self, name))
        return message

    @classmethod
    def from_message(cls, message: OrcaLoadReport) -> LoadReport:
        """Of protobuf's; what is out of range is left out."""
        single: dict[str, float] = {}
        for own, theirs in _FIELDS.items():
            value: float = getattr(message, theirs)
            most = float("inf") if own in _UNBOUNDED else 1.0
            if 0 <= value <= most:
                single[own] = value
        shares = {key: value for key, value in message.utilization.items() if 0 <= value <= 1}
        return cls(
            **single,
            utilization=shares,
            request_cost=dict(message.request_cost),
            named_metrics=dict(message.named_metrics),
        )


class Orca(OpenRcaServiceService, gyr.ServerObserver):
    """The service that tells clients the load of this server, at the interval that each asks for.

    Set `report` whenever something has changed, from any thread; every stream is told at its next
    interval. `min_interval`: seconds, the shortest interval that a client gets. `max_watchers`:
    streams at once; over it, RESOURCE_EXHAUSTED. When the server drains they end with UNAVAILABLE.
    `clock`: what the intervals go by (None: the system's). Give each server an Orca of its own.
    """

    def __init__(
        self,
        report: LoadReport | None = None,
        *,
        min_interval: float = 30.0,
        max_watchers: int = 10_000,
        clock: gyr.Clock | None = None,
    ) -> None:
        if not min_interval > 0:
            raise ValueError(f"{min_interval=!r} is out of range: it must be more than 0 seconds")
        if max_watchers < 0:
            raise ValueError(f"{max_watchers=!r} is out of range: it must be at least 0")
        self.report = LoadReport() if report is None else report
        self._min_interval = min_interval
        self._max_watchers = max_watchers
        self._clock = gyr.Clock() if clock is None else clock
        self._watchers: set[asyncio.Event] = set()
        self._draining = False

    def server_draining(self, server: gyr.Server) -> None:
        """The streams end, so that nobody waits for them."""
        self._draining = True
        for due in self._watchers:
            due.set()

    async def stream_core_metrics(
        self, request: orca_pb2.OrcaLoadReportRequest, ctx: gyr.ServerContext, /
    ) -> AsyncIterator[OrcaLoadReport]:
        """The report, at once and then once an interval; all costs if none is asked for."""
        asked = request.report_interval
        interval = max(asked.seconds + asked.nanos / 1e9, self._min_interval)
        if len(self._watchers) >= self._max_watchers:
            raise gyr.ResourceExhausted(
                f"{len(self._watchers)} streams run already: max_watchers={self._max_watchers}"
            )
        due = asyncio.Event()
        self._watchers.add(due)
        try:
            while not self._draining:
                due.clear()
                yield self._answer(request)
                timer = self._clock.call_later(asyncio.get_running_loop(), interval, due.set)
                try:
                    await due.wait()
                finally:
                    timer.cancel()
        finally:
            self._watchers.discard(due)
        raise gyr.Unavailable("the server shuts down")

    def _answer(self, request: orca_pb2.OrcaLoadReportRequest) -> OrcaLoadReport:
        message = self.report.to_message()
        if wanted := set(request.request_cost_names):
            for name in message.request_cost.keys() - wanted:
                del message.request_cost[name]
        return message

    def __repr__(self) -> str:
        return f"<Orca with {len(self._watchers)} streams>"
