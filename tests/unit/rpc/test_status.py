"""Status and the codes that stand in for a missing one."""

from __future__ import annotations

import enum
import importlib
import pickle

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from gyrfalcon.rpc import OK, Status, StatusCode, code_from_http, code_from_reset


def test_codes_are_those_of_grpc() -> None:
    assert [(code.name, code.value) for code in StatusCode] == [
        ("OK", 0),
        ("CANCELLED", 1),
        ("UNKNOWN", 2),
        ("INVALID_ARGUMENT", 3),
        ("DEADLINE_EXCEEDED", 4),
        ("NOT_FOUND", 5),
        ("ALREADY_EXISTS", 6),
        ("PERMISSION_DENIED", 7),
        ("RESOURCE_EXHAUSTED", 8),
        ("FAILED_PRECONDITION", 9),
        ("ABORTED", 10),
        ("OUT_OF_RANGE", 11),
        ("UNIMPLEMENTED", 12),
        ("INTERNAL", 13),
        ("UNAVAILABLE", 14),
        ("DATA_LOSS", 15),
        ("UNAUTHENTICATED", 16),
    ]


def test_a_code_is_an_attribute_of_its_class() -> None:
    # A module with native code changes how they are looked up.
    importlib.import_module("gyrfalcon.transport.interception")
    assert StatusCode.OK is StatusCode["OK"] is StatusCode(0)
    assert StatusCode.OK.name == "OK"
    assert list(StatusCode.__members__) == [code.name for code in StatusCode]
    assert isinstance(StatusCode, enum.EnumType)
    assert pickle.loads(pickle.dumps(StatusCode.ABORTED)) is StatusCode.ABORTED
    with pytest.raises(AttributeError, match="FINE"):
        StatusCode.FINE  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError):
        StatusCode.OK = StatusCode.ABORTED  # type: ignore[misc]


@pytest.mark.parametrize(
    ("http_status", "code"),
    [
        (400, StatusCode.INTERNAL),
        (401, StatusCode.UNAUTHENTICATED),
        (403, StatusCode.PERMISSION_DENIED),
        (404, StatusCode.UNIMPLEMENTED),
        (429, StatusCode.UNAVAILABLE),
        (502, StatusCode.UNAVAILABLE),
        (503, StatusCode.UNAVAILABLE),
        (504, StatusCode.UNAVAILABLE),
        (200, StatusCode.UNKNOWN),
        (302, StatusCode.UNKNOWN),
        (405, StatusCode.UNKNOWN),
        (500, StatusCode.UNKNOWN),
        (999, StatusCode.UNKNOWN),
    ],
)
def test_code_of_a_reply_without_a_status(http_status: int, code: StatusCode) -> None:
    assert code_from_http(http_status) is code


@pytest.mark.parametrize(
    ("error_code", "code"),
    [
        (0, StatusCode.INTERNAL),  # NO_ERROR
        (1, StatusCode.INTERNAL),  # PROTOCOL_ERROR
        (2, StatusCode.INTERNAL),  # INTERNAL_ERROR
        (3, StatusCode.INTERNAL),  # FLOW_CONTROL_ERROR
        (4, StatusCode.INTERNAL),  # SETTINGS_TIMEOUT
        (5, StatusCode.INTERNAL),  # STREAM_CLOSED
        (6, StatusCode.INTERNAL),  # FRAME_SIZE_ERROR
        (7, StatusCode.UNAVAILABLE),  # REFUSED_STREAM
        (8, StatusCode.CANCELLED),  # CANCEL
        (9, StatusCode.INTERNAL),  # COMPRESSION_ERROR
        (10, StatusCode.INTERNAL),  # CONNECT_ERROR
        (11, StatusCode.RESOURCE_EXHAUSTED),  # ENHANCE_YOUR_CALM
        (12, StatusCode.PERMISSION_DENIED),  # INADEQUATE_SECURITY
        (13, StatusCode.INTERNAL),  # HTTP_1_1_REQUIRED
        (0xFFFFFFFF, StatusCode.INTERNAL),
    ],
)
def test_code_of_a_reset_stream(error_code: int, code: StatusCode) -> None:
    assert code_from_reset(error_code) is code


def test_a_status_is_a_value() -> None:
    status = Status(StatusCode.NOT_FOUND, "no order '7'")
    assert status == Status(StatusCode.NOT_FOUND, "no order '7'")
    assert hash(status) == hash(Status(StatusCode.NOT_FOUND, "no order '7'"))
    assert status != Status(StatusCode.NOT_FOUND, "no order '8'")
    assert status != Status(StatusCode.ABORTED, "no order '7'")
    assert status != Status(StatusCode.NOT_FOUND, "no order '7'", [StringValue()])
    assert status != "NOT_FOUND"
    assert repr(status) == """Status(NOT_FOUND, "no order '7'")"""
    assert not status.ok
    assert OK.ok
    assert Status(StatusCode.OK) == OK


def test_a_status_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        OK.code = StatusCode.ABORTED
    with pytest.raises(AttributeError, match="immutable"):
        del OK.message
    assert OK.code is StatusCode.OK


def test_details_go_through_bytes() -> None:
    status = Status(StatusCode.ABORTED, "again", [StringValue(value="soon")])
    assert status.details == (StringValue(value="soon"),)
    sent = status.encoded_details()
    received = Status(StatusCode.ABORTED, "again", sent)
    assert received.encoded_details() == sent
    assert received.details == (StringValue(value="soon"),)
    assert received == status
    assert pickle.loads(pickle.dumps(status)) == status
    assert "soon" in repr(status)


def test_no_details_are_no_bytes() -> None:
    assert OK.details == ()
    assert OK.encoded_details() == b""
