"""What is measured: the one table of scenarios."""

from __future__ import annotations

from benchmarks import payloads
from benchmarks.measures import Figure, Import, InFlight, Latency, Memory, Neutral, Own, Scenario

STREAM_MESSAGES = 5_000
"""In one stream of small messages: enough that the call itself hardly counts."""
SHORT_STREAM_MESSAGES = 1_000
"""The same with ten streams at once, so that the slowest peer ends them in reasonable time."""
LARGE_MESSAGES = 32
"""In one stream of large messages."""

SMALL = ("--size", str(payloads.SMALL_DATA_BYTES))
LARGE = ("--size", str(payloads.LARGE_DATA_BYTES))
SMALL_STREAM = ("--count", str(STREAM_MESSAGES), *SMALL)
LARGE_STREAM = ("--count", str(LARGE_MESSAGES), *LARGE)

SCENARIOS: tuple[Scenario, ...] = (
    Neutral(
        Figure("unary-h2load", "unary, one server core, h2load 10 × 50", "calls/s"),
        method="Buy",
        body=payloads.framed(payloads.ORDER),
        message=payloads.framed(payloads.RECEIPT),
        connections=10,
        streams=50,
    ),
    Neutral(
        Figure("unary-h2load-headers", "the same, with timeout and user-agent sent", "calls/s"),
        method="Buy",
        body=payloads.framed(payloads.ORDER),
        message=payloads.framed(payloads.RECEIPT),
        connections=10,
        streams=50,
        headers=("grpc-timeout: 20S", "user-agent: neutral/1.0 (linux; h2load)"),
    ),
    Neutral(
        Figure("unary-h2load-threads", "the same, def handlers in a thread pool", "calls/s"),
        method="Buy",
        body=payloads.framed(payloads.ORDER),
        message=payloads.framed(payloads.RECEIPT),
        connections=10,
        streams=50,
        serve=("--threads",),
    ),
    Neutral(
        Figure("unary-h2load-tls", "the same as the first, with TLS 1.3", "calls/s"),
        method="Buy",
        body=payloads.framed(payloads.ORDER),
        message=payloads.framed(payloads.RECEIPT),
        connections=10,
        streams=50,
        tls=True,
    ),
    Own(
        Figure("unary-100", "unary, own client, 100 in flight", "calls/s"),
        load=("unary", "--in-flight", "100"),
    ),
    Latency(
        "latency",
        Figure("latency-p50", "unary, one at a time, p50", "µs", "lower"),
        Figure("latency-added", "one at a time: added to a raw TCP echo", "µs", "lower"),
    ),
    Latency(
        "latency-blocking",
        Figure(
            "latency-blocking-p50",
            "blocking clients, one server, one at a time, p50",
            "µs",
            "lower",
        ),
        Figure("latency-blocking-added", "the same: added to a raw TCP echo", "µs", "lower"),
        server="gyrfalcon",
    ),
    Own(
        Figure("unary-8-threads", "blocking clients, one server, 8 threads", "calls/s"),
        load=("threads", "--in-flight", "8"),
        server="gyrfalcon",
    ),
    Neutral(
        Figure(
            "server-streaming-h2load",
            "server streaming, one server core, h2load",
            "messages/s",
        ),
        method="Download",
        body=payloads.framed_wish(SHORT_STREAM_MESSAGES, payloads.SMALL_DATA_BYTES),
        message=payloads.framed(payloads.chunk(payloads.SMALL_DATA_BYTES)),
        connections=10,
        streams=1,
        messages=SHORT_STREAM_MESSAGES,
    ),
    Own(
        Figure("server-streaming", "server streaming, own client", "messages/s"),
        load=("download", *SMALL_STREAM),
        messages=STREAM_MESSAGES,
    ),
    Own(
        Figure("client-streaming", "client streaming, own client", "messages/s"),
        load=("upload", *SMALL_STREAM),
        messages=STREAM_MESSAGES,
    ),
    Own(
        Figure("ping-pong", "ping-pong on one stream", "exchanges/s"),
        load=("chat", *SMALL),
    ),
    Own(
        Figure("large-download", "1 MiB messages, server streaming", "messages/s"),
        load=("download", *LARGE_STREAM),
        messages=LARGE_MESSAGES,
        heavy=True,
    ),
    Own(
        Figure("large-upload", "1 MiB messages, client streaming", "messages/s"),
        load=("upload", *LARGE_STREAM),
        messages=LARGE_MESSAGES,
        heavy=True,
    ),
    InFlight(
        "in-flight",
        Figure("in-flight-10000", "unary, own client, 10,000 in flight", "calls/s"),
        Figure("in-flight-ratio", "rate at 10,000 in flight ÷ rate at 100", "×"),
    ),
    Import(
        "import",
        Figure("import", "import, over asyncio and protobuf", "ms", "lower", drawn=False),
        Figure("import-used", "import, client and server named", "ms", "lower"),
    ),
    Memory(
        Figure("idle-connection", "an idle connection, on the server", "KiB", "lower"),
        kind="connections",
        count=1_000,
    ),
    Memory(
        Figure("idle-stream", "an idle stream, on the server", "KiB", "lower"),
        kind="streams",
        count=10_000,
    ),
)
