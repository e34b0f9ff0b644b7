"""Telemetry: traces and metrics of calls through OpenTelemetry (the extra `otel`).

`Channel(target, interceptors=[ClientTelemetry()])`, `Server(services,
interceptors=[ServerTelemetry()])`, for asyncio and for threads alike. The metrics are those of gRFC
A66, the spans those of the semantic conventions for RPC.
"""

try:
    import opentelemetry.metrics
    import opentelemetry.trace  # noqa: F401 (to fail here, where the remedy can be named)
except ImportError as error:
    raise ImportError(
        "gyrfalcon.telemetry needs OpenTelemetry: pip install 'gyrfalcon[otel]'"
    ) from error

from .client import ClientTelemetry
from .metrics import LATENCY_BUCKETS, SIZE_BUCKETS
from .server import ServerTelemetry

__all__ = ["LATENCY_BUCKETS", "SIZE_BUCKETS", "ClientTelemetry", "ServerTelemetry"]
