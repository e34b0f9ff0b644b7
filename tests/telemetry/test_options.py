"""The instruments themselves, the options, and a program without OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import message, serving
from tests.telemetry.recorder import Recorder

# Written out again: a slip of the fingers in the product would stay unseen otherwise.
LATENCY = (
    "0 0.00001 0.00005 0.0001 0.0003 0.0006 0.0008 0.001 0.002 0.003 0.004 0.005 0.006 0.008 0.01 "
    "0.013 0.016 0.02 0.025 0.03 0.04 0.05 0.065 0.08 0.1 0.13 0.16 0.2 0.25 0.3 0.4 0.5 0.65 0.8 "
    "1 2 5 10 20 50 100"
)
SIZE = (
    "0 1024 2048 4096 16384 65536 262144 1048576 4194304 16777216 67108864 268435456 1073741824 "
    "4294967296"
)

WITHOUT_OPENTELEMETRY = """
import sys
sys.modules["opentelemetry"] = None
import gyrfalcon
try:
    gyrfalcon.telemetry
except ImportError as error:
    print(error)
"""


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


@pytest.mark.anyio
async def test_units_and_buckets_are_those_of_grfc_a66() -> None:
    recorder = Recorder()
    async with serving(**recorder.options(), unary=echo) as stub:
        await stub.unary(message())
    seconds, sizes = ("s", numbers(LATENCY)), ("By", numbers(SIZE))
    assert recorder.bounds() == {
        "grpc.client.attempt.started": ("{attempt}", ()),
        "grpc.client.attempt.duration": seconds,
        "grpc.client.attempt.sent_total_compressed_message_size": sizes,
        "grpc.client.attempt.rcvd_total_compressed_message_size": sizes,
        "grpc.client.call.duration": seconds,
        "grpc.server.call.started": ("{call}", ()),
        "grpc.server.call.duration": seconds,
        "grpc.server.call.sent_total_compressed_message_size": sizes,
        "grpc.server.call.rcvd_total_compressed_message_size": sizes,
    }
    assert numbers(LATENCY) == gyr.telemetry.LATENCY_BUCKETS
    assert numbers(SIZE) == gyr.telemetry.SIZE_BUCKETS


@pytest.mark.anyio
async def test_traces_and_metrics_are_had_apart() -> None:
    traced, measured = Recorder(), Recorder()
    async with serving(**traced.options(metrics=False), unary=echo) as stub:
        await stub.unary(message())
    async with serving(**measured.options(traces=False), unary=echo) as stub:
        await stub.unary(message())
    assert (len(traced.spans()), traced.metrics()) == (2, {})
    assert (len(measured.spans()), len(measured.metrics())) == (0, 9)


def test_options_that_contradict_each_other_are_refused() -> None:
    for make in (gyr.telemetry.ClientTelemetry, gyr.telemetry.ServerTelemetry):
        with pytest.raises(ValueError, match="message_events=True with traces=False"):
            make(traces=False, message_events=True)
        with pytest.raises(ValueError, match="leave the interceptor out"):
            make(traces=False, metrics=False)


@pytest.mark.anyio
async def test_without_an_sdk_calls_go_on_and_nothing_is_recorded() -> None:
    options: dict[str, Any] = {
        "server_options": {"interceptors": [gyr.telemetry.ServerTelemetry(message_events=True)]},
        "channel_options": {"interceptors": [gyr.telemetry.ClientTelemetry(message_events=True)]},
    }
    async with serving(**options, unary=echo) as stub:
        assert await stub.unary(message(b"x")) == message(b"x")


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("import gyrfalcon, sys; print('opentelemetry' in sys.modules)", "False"),
        (
            WITHOUT_OPENTELEMETRY,
            "gyrfalcon.telemetry needs OpenTelemetry: pip install 'gyrfalcon[otel]'",
        ),
        ("from gyrfalcon import *; print('telemetry' in globals())", "False"),
    ],
)
def test_opentelemetry_is_needed_by_telemetry_alone(program: str, printed: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == printed
