"""The telemetry of a server."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from opentelemetry import context
from opentelemetry.trace import INVALID_SPAN, SpanKind, set_span_in_context

import gyrfalcon as gyr

from .base import Filter, Notes, Telemetry
from .carrier import GETTER
from .metrics import ServerMetrics
from .spans import SERVER_ERRORS, end_span, method_attributes, peer_attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import TracerProvider

    from .metrics import Labels


class ServerTelemetry(Telemetry):
    """Traces and measures the calls of a server, `gyr.Server` or `gyr.blocking.Server`.

    Put it first among the interceptors, so that what they do is measured and belongs to the span.
    The span is the current one in the handler, `def` or `async def`, and continues the trace that
    the client sent.

    - `traces`, `metrics`: whether there are spans, and measurements;
    - `message_events`: whether each message is an event of the span;
    - `method_filter`: asked whether the name of a method ("package.Service/Method") may stand in
      metrics; where not, "other" does. None: those that the server has, and no others;
    - `tracer_provider`, `meter_provider`, `propagator`: OpenTelemetry's global ones when None,
      also when these are set later.

    Calls that end before their handler can start (of a method that is not served, past their
    deadline, given up) are counted and measured, with no duration and no bytes, and have no span.

    Raises ValueError for options that contradict each other. Any thread.
    """

    def __init__(
        self,
        *,
        traces: bool = True,
        metrics: bool = True,
        message_events: bool = False,
        method_filter: Filter | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagator: TextMapPropagator | None = None,
    ) -> None:
        super().__init__(
            traces=traces,
            metrics=metrics,
            message_events=message_events,
            method_filter=method_filter,
            tracer_provider=tracer_provider,
            propagator=propagator,
        )
        self._metrics = ServerMetrics(meter_provider) if metrics else None

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        """Around one call."""
        name = call.method[1:]
        notes = Notes(perf_counter(), {"grpc.method": self.shown(name)})
        call.state[self] = notes
        # Not of a span that was current where the server was started.
        base = set_span_in_context(INVALID_SPAN)
        parent = self.propagator.extract(call.metadata, base, GETTER)
        attributes = {**method_attributes(name), **peer_attributes(call.peer)}
        self.start_span(notes, name, SpanKind.SERVER, attributes, parent)
        if self._metrics is not None:
            self._metrics.calls_started.add(1, notes.labels)
        try:
            outcome = yield
        except GeneratorExit:
            # Nobody goes on with the call: its loop is gone.
            if notes.span is not None:
                end_span(notes.span, gyr.StatusCode.CANCELLED, "", None)
            raise
        if notes.span is not None:
            error = outcome.error if outcome.code in SERVER_ERRORS else None
            end_span(notes.span, outcome.code, outcome.message, _origin(error))
        if notes.token is not None:
            context.detach(notes.token)

    def answered(self, call: gyr.InterceptedCall, outcome: gyr.Outcome) -> None:
        """Measure a call, now that all of its bytes are known."""
        notes = call.state.get(self)
        if self._metrics is not None and notes is not None:
            labels = {**notes.labels, "grpc.status": outcome.code.name}
            seconds = perf_counter() - notes.began
            self._record(labels, seconds, call.sent_bytes, call.received_bytes, notes.context)

    def refused(self, method: str, code: gyr.StatusCode, registered: bool) -> None:
        """Count a call that ended before its interceptors saw it."""
        if self._metrics is not None:
            labels = {"grpc.method": self.shown(method.removeprefix("/"), registered)}
            self._metrics.calls_started.add(1, labels)
            self._record({**labels, "grpc.status": code.name}, 0.0, 0, 0, None)

    def _record(
        self, labels: Labels, seconds: float, sent: int, received: int, within: Context | None
    ) -> None:
        if self._metrics is not None:
            self._metrics.call_duration.record(seconds, labels, within)
            self._metrics.call_sent.record(sent, labels, within)
            self._metrics.call_received.record(received, labels, within)


def _origin(error: BaseException | None) -> BaseException | None:
    """What the handler raised, where the client is told of another error in its place."""
    if error is None or error.__traceback__ is not None or error.__cause__ is None:
        return error
    return error.__cause__
