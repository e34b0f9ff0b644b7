"""The telemetry of a channel."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from opentelemetry import context
from opentelemetry.trace import SpanKind

import gyrfalcon as gyr

from .base import OTHER, Filter, Notes, Telemetry
from .carrier import SETTER
from .metrics import ClientMetrics
from .spans import end_span, method_attributes, peer_attributes, server_attributes

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.propagators.textmap import TextMapPropagator
    from opentelemetry.trace import TracerProvider


class ClientTelemetry(Telemetry):
    """Traces and measures the calls of a channel, `gyr.Channel` or `gyr.blocking.Channel`.

    Put it first among the interceptors: what stands before it is not measured, and a call that an
    interceptor before it makes again counts as another call. One may serve many channels.

    - `traces`, `metrics`: whether there are spans, and measurements;
    - `message_events`: whether each message is an event of the span;
    - `method_filter`, `target_filter`: asked whether the name of a method
      ("package.Service/Method") or a target ("dns:///localhost:50051") may stand in metrics; where
      not, "other" does. None: all may;
    - `tracer_provider`, `meter_provider`, `propagator`: OpenTelemetry's global ones when None,
      also when these are set later.

    Raises ValueError for options that contradict each other. Any thread.
    """

    def __init__(
        self,
        *,
        traces: bool = True,
        metrics: bool = True,
        message_events: bool = False,
        method_filter: Filter | None = None,
        target_filter: Filter | None = None,
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
        self._metrics = ClientMetrics(meter_provider) if metrics else None
        self._target_filter = target_filter

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        """Around one call."""
        name = call.method[1:]
        target = call.target or OTHER
        shown = self._target_filter is None or self._target_filter(target)
        notes = Notes(
            perf_counter(),
            {"grpc.method": self.shown(name), "grpc.target": target if shown else OTHER},
        )
        call.state[self] = notes
        attributes = {**method_attributes(name), **server_attributes(target)}
        self.start_span(notes, name, SpanKind.CLIENT, attributes)
        self.propagator.inject(call.metadata, setter=SETTER)
        try:
            outcome = yield
        except GeneratorExit:
            # Nobody goes on with the call: its loop is gone.
            self._end(call, notes, gyr.StatusCode.CANCELLED, "", gyr.Cancelled("not ended"))
            raise
        self._end(call, notes, outcome.code, outcome.message, outcome.error)
        if notes.token is not None:
            context.detach(notes.token)

    def _end(
        self,
        call: gyr.InterceptedCall,
        notes: Notes,
        code: gyr.StatusCode,
        text: str,
        error: BaseException | None,
    ) -> None:
        if self._metrics is not None:
            seconds = perf_counter() - notes.began
            self._metrics.call_duration.record(seconds, {**notes.labels, "grpc.status": code.name})
        if notes.span is not None:
            notes.span.set_attributes(peer_attributes(call.peer))
            end_span(notes.span, code, text, error)

    def attempt_started(self, call: gyr.InterceptedCall) -> None:
        """Count it."""
        notes = call.state[self]
        notes.attempts += 1
        notes.attempt_began = perf_counter()
        if notes.attempts > 1 and notes.span is not None:
            notes.span.add_event("retry", {"grpc.previous-rpc-attempts": notes.attempts - 1})
        if self._metrics is not None:
            self._metrics.attempts_started.add(1, notes.labels)

    def attempt_ended(self, call: gyr.InterceptedCall, outcome: gyr.Outcome) -> None:
        """Measure it."""
        notes = call.state[self]
        if self._metrics is not None:
            labels = {**notes.labels, "grpc.status": outcome.code.name}
            seconds = perf_counter() - notes.attempt_began
            self._metrics.attempt_duration.record(seconds, labels)
            self._metrics.attempt_sent.record(call.sent_bytes, labels)
            self._metrics.attempt_received.record(call.received_bytes, labels)
