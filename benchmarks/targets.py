"""What gyrfalcon must reach: the one table that the results are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Comparison = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure of gyrfalcon, as a multiple of a peer's or as it stands."""

    figure: str
    comparison: Comparison
    bound: float
    against: str = ""
    """the peer whose figure is the unit; empty: the figure's own unit"""
    of: str = "gyrfalcon"
    """whose figure: a peer that is gyrfalcon"""

    def met_by(self, value: float) -> bool:
        return value >= self.bound if self.comparison == "at least" else value <= self.bound


TARGETS = (
    Target("unary-h2load", "at least", 12, "grpc-aio"),
    Target("unary-h2load", "at least", 1, "grpc-go"),
    Target("unary-h2load-threads", "at least", 6, "grpcio"),
    Target("unary-h2load-threads", "at least", 6, "grpcio", of="gyrfalcon-blocking"),
    Target("latency-blocking-added", "at most", 1 / 3, "grpcio", of="gyrfalcon-blocking"),
    Target("unary-8-threads", "at least", 2.5, "grpcio", of="gyrfalcon-blocking"),
    Target("unary-h2load-tls", "at least", 8, "grpc-aio"),
    Target("unary-100", "at least", 8, "grpc-aio"),
    # Two interceptors on the server, and two on the client beside them, each under a tenth of the
    # rate.
    Target("unary-h2load", "at most", 1 / 0.8, "gyrfalcon-intercepted"),
    Target("unary-100", "at most", 1 / 0.8, "gyrfalcon-intercepted"),
    Target("latency-added", "at most", 1 / 6, "grpc-aio"),
    Target("server-streaming-h2load", "at least", 20, "grpc-aio"),
    Target("server-streaming", "at least", 12, "grpc-aio"),
    Target("client-streaming", "at least", 12, "grpc-aio"),
    Target("ping-pong", "at least", 6, "grpc-aio"),
    Target("large-download", "at least", 2, "grpc-aio"),
    Target("large-upload", "at least", 2, "grpc-aio"),
    Target("in-flight-ratio", "at least", 0.8),
    Target("import", "at most", 15),
    Target("idle-connection", "at most", 64),
    Target("idle-stream", "at most", 8),
)
