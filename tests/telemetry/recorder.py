"""What telemetry recorded, in memory, in a form that tests can compare."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

import gyrfalcon as gyr


class Recorder:
    """Providers of its own, and interceptors that report to them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def client(self, **options: Any) -> gyr.telemetry.ClientTelemetry:
        return gyr.telemetry.ClientTelemetry(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    def server(self, **options: Any) -> gyr.telemetry.ServerTelemetry:
        return gyr.telemetry.ServerTelemetry(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    def options(self, **options: Any) -> dict[str, Any]:
        """For `serve`: both sides with telemetry."""
        return {
            "server_options": {"interceptors": [self.server(**options)]},
            "channel_options": {"interceptors": [self.client(**options)]},
        }

    def spans(self, kind: str | None = None) -> list[ReadableSpan]:
        """The spans that have ended, in the order of their beginning."""
        found = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        return [span for span in found if kind is None or span.kind.name == kind]

    def metrics(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """By name, and then by the values of the attributes (method, target, status): the value of
        a counter, the sum of a histogram of sizes, the count of a histogram of durations."""
        data = self._reader.get_metrics_data()
        found: dict[str, dict[tuple[str, ...], Any]] = {}
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = {
                        _labels(point.attributes): _figure(point, metric.unit)
                        for point in metric.data.data_points
                    }
        return found

    def bounds(self) -> dict[str, tuple[str | None, tuple[float, ...]]]:
        """The unit and the bounds of the buckets of each metric."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: (
                metric.unit,
                tuple(getattr(next(iter(metric.data.data_points)), "explicit_bounds", ())),
            )
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def _labels(attributes: Any) -> tuple[str, ...]:
    order = ("grpc.method", "grpc.target", "grpc.status")
    assert set(attributes) <= set(order)
    return tuple(attributes[name] for name in order if name in attributes)


def _figure(point: Any, unit: str | None) -> Any:
    if not isinstance(point, HistogramDataPoint):
        return point.value
    if unit == "s":
        assert point.sum >= 0
        return point.count
    return point.sum


def status_of(span: ReadableSpan) -> tuple[str, int | None, list[str]]:
    """The span's status, the call's status code, the types of its exceptions."""
    attributes = span.attributes or {}
    code = attributes.get("rpc.response.status_code")
    assert isinstance(code, str)
    status = span.status.status_code.name
    assert attributes.get("error.type") == (code if status == "ERROR" else None)
    return (
        status,
        int(gyr.StatusCode[code]),
        [
            str((event.attributes or {})["exception.type"])
            for event in span.events
            if event.name == "exception"
        ],
    )


def ids(span: ReadableSpan) -> SpanContext:
    """The ids of a span."""
    found: SpanContext | None = span.context
    assert found is not None
    return found


def messages_of(span: ReadableSpan) -> list[tuple[object, object, object]]:
    """The message events of a span: direction, number, size."""
    found: list[tuple[object, object, object]] = []
    for event in span.events:
        if event.name == "rpc.message":
            noted = event.attributes or {}
            found.append(
                (
                    noted.get("rpc.message.type"),
                    noted.get("rpc.message.id"),
                    noted.get("rpc.message.uncompressed_size"),
                )
            )
    return found
