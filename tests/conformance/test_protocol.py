"""How the programs talk to the runner, and how what it says is read: without the runner."""

from __future__ import annotations

import io

import pytest

import gyrfalcon as gyr
from tests.conformance.__main__ import RUNNER, read_output
from tests.conformance.conversation import Cancelling, read_script
from tests.conformance.proto.connectrpc.conformance.v1 import config_pb2, service_pb2
from tests.conformance.proto.connectrpc.conformance.v1.client_compat_pb2 import ClientCompatRequest
from tests.conformance.protocol import (
    check_wire,
    error_of,
    headers_of,
    metadata_of,
    packed,
    read_message,
    write_message,
)
from tests.reports import Report

HEADER = service_pb2.Header(name="x-case", value=["one", "two"])
RUNNING = (
    "Running 3 tests with reference-server for server config #{} "
    "{{HTTP_VERSION_2, PROTOCOL_GRPC, TLS:{}}}...\n"
)


def test_messages_follow_each_other_behind_their_sizes() -> None:
    stream = io.BytesIO()
    write_message(stream, HEADER)
    write_message(stream, service_pb2.Header())
    assert stream.getvalue()[:4] == len(HEADER.SerializeToString()).to_bytes(4, "big")
    stream.seek(0)
    assert read_message(stream, service_pb2.Header) == HEADER
    assert read_message(stream, service_pb2.Header) == service_pb2.Header()
    assert read_message(stream, service_pb2.Header) is None


@pytest.mark.parametrize("data", [b"\0\0", b"\0\0\0\x05abc"], ids=["size", "message"])
def test_a_stream_that_ends_too_early_is_an_error(data: bytes) -> None:
    with pytest.raises(EOFError):
        read_message(io.BytesIO(data), service_pb2.Header)


def test_what_is_no_size_is_not_believed() -> None:
    with pytest.raises(ValueError, match="4294967295 bytes"):
        read_message(io.BytesIO(b"\xff" * 8), service_pb2.Header)


def test_headers_are_metadata_and_back() -> None:
    binary = service_pb2.Header(name="x-bits-bin", value=["AAEC", "_w".replace("_", "/")])
    metadata = metadata_of([HEADER, binary])
    assert metadata.items() == [
        ("x-case", "one"),
        ("x-case", "two"),
        ("x-bits-bin", b"\0\1\2"),
        ("x-bits-bin", b"\xff"),
    ]
    assert headers_of(metadata) == [HEADER, binary]


def test_an_error_keeps_code_message_and_details() -> None:
    error = error_of(gyr.Status(gyr.StatusCode.CANCELLED, "enough", [HEADER, packed(HEADER)]))
    assert (error.code, error.message) == (config_pb2.CODE_CANCELED, "enough")
    assert list(error.details) == [packed(HEADER), packed(HEADER)]


@pytest.mark.parametrize("name", ["PROTOCOL_CONNECT", "PROTOCOL_GRPC_WEB"])
def test_another_protocol_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        check_wire(getattr(config_pb2, name), config_pb2.HTTP_VERSION_2)


def test_a_request_that_cannot_be_carried_out_says_why() -> None:
    with pytest.raises(ValueError, match="'Divide' is not one of Unary"):
        read_script(ClientCompatRequest(method="Divide"))
    with pytest.raises(ValueError, match="has one request, and 0"):
        read_script(ClientCompatRequest(method="Unary"))
    with pytest.raises(ValueError, match="no requests of the type"):
        read_script(ClientCompatRequest(method="Unary", request_messages=[packed(HEADER)]))


@pytest.mark.parametrize(
    ("cancel", "expected"),
    [
        (None, Cancelling()),
        ({}, Cancelling(after_half_close=0.0)),
        ({"before_close_send": {}}, Cancelling(before_half_close=True)),
        ({"after_close_send_ms": 5}, Cancelling(after_half_close=0.005)),
        ({"after_num_responses": 2}, Cancelling(after_replies=2)),
    ],
)
def test_when_a_call_is_cancelled(cancel: dict[str, object] | None, expected: Cancelling) -> None:
    asked = ClientCompatRequest(method="BidiStream")
    if cancel is not None:
        asked.cancel.CopyFrom(ClientCompatRequest.Cancel(**cancel))  # type: ignore[arg-type]
    assert read_script(asked).cancelling == expected


def report(tls: bool, passed: int, failed: int = 0, skipped: int = 0) -> Report:
    return Report(
        suite="connectconformance",
        version=RUNNER.version,
        role="client",
        face="asyncio",
        tls=tls,
        passed=passed,
        failed=failed,
        skipped=skipped,
        seconds=1.5,
    )


def test_what_the_runner_says_becomes_a_report_for_each_security() -> None:
    output = (
        RUNNING.format(1, "false")
        + RUNNING.format(2, "true")
        + RUNNING.format(3, "true")
        + "FAILED: Basic/TLS:false/unary:\n\tno reply\nFAILED: TLS Client Certs/unary:\n\tno\n\n"
        + "Total cases: 9\n7 passed, 2 failed\n"
    )
    reports = read_output(output, "client", "asyncio", 1.5)
    assert reports == [report(False, 2, failed=1), report(True, 5, failed=1)]
    assert [one.ok for one in reports] == [False, False]


def test_cases_that_could_not_be_run_are_no_success() -> None:
    output = (
        RUNNING.format(1, "true")
        + "Total cases: 2\n2 passed, 0 failed\n"
        + "Another 1 could not be run due to client timing out or exiting prematurely.\n"
    )
    (only,) = read_output(output, "client", "asyncio", 1.5)
    assert (only, only.ok) == (report(True, 2, skipped=1), False)


@pytest.mark.parametrize(
    "output",
    [
        "",
        RUNNING.format(1, "true"),
        RUNNING.format(1, "true") + "Total cases: 2\n2 passed, 0 failed\n",
        RUNNING.format(1, "true") + "Total cases: 3\n2 passed, 1 failed\n",
    ],
)
def test_a_run_that_does_not_add_up_is_none(output: str) -> None:
    with pytest.raises(ValueError, match="runner"):
        read_output(output, "client", "asyncio", 1.5)
