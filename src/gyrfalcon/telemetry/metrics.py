"""The instruments of gRFC A66."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.metrics import get_meter

import gyrfalcon as gyr

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter, MeterProvider

LATENCY_BUCKETS: Final = (
    *(0.0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008),
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008),
    *(0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08),
    *(0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0),
)
"""Upper bounds of the buckets of durations, in seconds (A66, Units)."""

SIZE_BUCKETS: Final = (
    0.0,
    *(float(1024 * 2**power) for power in (0, 1, 2)),
    *(float(4**power) for power in range(7, 17)),
)
"""Upper bounds of the buckets of message sizes, in bytes (A66, Units)."""

Labels = dict[str, str]


class ClientMetrics:
    """What a client counts and measures."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter("gyrfalcon", gyr.__version__, provider)
        self.attempts_started = meter.create_counter(
            "grpc.client.attempt.started",
            "{attempt}",
            "The RPC attempts that were started, including those that have not completed",
        )
        self.attempt_duration = _duration(
            meter, "grpc.client.attempt.duration", "The time that an RPC attempt took"
        )
        self.attempt_sent, self.attempt_received = _sizes(
            meter, "grpc.client.attempt", "request", "response", "RPC attempt"
        )
        self.call_duration = _duration(
            meter,
            "grpc.client.call.duration",
            "The time that a call took, as the application sees it",
        )


class ServerMetrics:
    """What a server counts and measures."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter("gyrfalcon", gyr.__version__, provider)
        self.calls_started = meter.create_counter(
            "grpc.server.call.started",
            "{call}",
            "The calls that were started, including those that have not completed",
        )
        self.call_duration = _duration(
            meter, "grpc.server.call.duration", "The time that a call took on the server"
        )
        self.call_sent, self.call_received = _sizes(
            meter, "grpc.server.call", "response", "request", "call"
        )


def _duration(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(
        name, "s", description, explicit_bucket_boundaries_advisory=LATENCY_BUCKETS
    )


def _sizes(
    meter: Meter, prefix: str, sent: str, received: str, what: str
) -> tuple[Histogram, Histogram]:
    """The two histograms of compressed bytes: of what is sent, and of what is received."""
    made = [
        meter.create_histogram(
            f"{prefix}.{way}_total_compressed_message_size",
            "By",
            f"Compressed bytes of all {message} messages of one {what}",
            explicit_bucket_boundaries_advisory=SIZE_BUCKETS,
        )
        for way, message in (("sent", sent), ("rcvd", received))
    ]
    return made[0], made[1]
