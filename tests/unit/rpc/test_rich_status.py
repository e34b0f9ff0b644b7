"""grpc-status-details-bin: written as google.rpc.Status, read without trust."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon.rpc.rich_status import decode_details, encode_details, fit_details


def test_bytes_are_those_of_google_rpc_status() -> None:
    detail = StringValue(value="x")
    packed = Any()
    packed.Pack(detail)
    body = packed.SerializeToString()
    expected = b"\x08\x05" + b"\x12\x02no" + b"\x1a" + bytes([len(body)]) + body
    assert encode_details(5, "no", [detail]) == expected


def test_details_of_known_types_come_back_as_themselves() -> None:
    details: list[Message] = [StringValue(value="x"), Duration(seconds=3)]
    assert decode_details(encode_details(9, "", details), 9) == tuple(details)


def test_a_detail_of_an_unknown_type_stays_an_any() -> None:
    unknown = Any(type_url="type.googleapis.com/nobody.knows.This", value=b"\x08\x01")
    assert decode_details(encode_details(9, "", [unknown]), 9) == (unknown,)


def test_a_detail_with_bad_bytes_stays_an_any() -> None:
    broken = Any(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\x0a\x05x")
    assert decode_details(encode_details(9, "", [broken]), 9) == (broken,)


def test_a_packed_any_is_not_packed_twice() -> None:
    packed = Any()
    packed.Pack(Duration(seconds=3))
    assert decode_details(encode_details(9, "", [packed]), 9) == (Duration(seconds=3),)


def test_details_that_contradict_the_status_are_dropped_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = encode_details(5, "", [Duration()])
    with caplog.at_level(logging.INFO, "gyrfalcon.client"):
        assert decode_details(data, 13) == ()
        assert decode_details(b"\xff", 13) == ()
    assert caplog.messages == [
        "grpc-status-details-bin says code 5 and grpc-status 13: its details are dropped",
        "grpc-status-details-bin of 1 bytes is no google.rpc.Status",
    ]


def test_details_without_a_code_are_taken() -> None:
    assert decode_details(encode_details(0, "", [Duration()]), 13) == (Duration(),)


def test_half_a_surrogate_pair_is_sent_as_the_text_of_the_status_has_it() -> None:
    assert encode_details(5, "a\ud800", [Duration()]).startswith(b"\x08\x05\x12\x02a?")


def test_what_fits_is_left_as_it_is() -> None:
    data = encode_details(5, "no", [Duration(seconds=3)]) + b"\x22\x01x"  # a field of the future
    assert fit_details(data, 5, "no", len(data)) == (data, 0)


def test_the_last_details_are_left_out_until_the_status_fits() -> None:
    details = [StringValue(value=letter * 100) for letter in "abcdef"]
    whole = encode_details(5, "no", details)
    for kept in range(len(details) + 1):
        fitting = encode_details(5, "no", details[:kept])
        dropped = len(details) - kept
        assert fit_details(whole, 5, "no", len(fitting)) == (fitting, dropped)
    assert fit_details(whole, 5, "no", 3) == (b"", 6)


def test_a_status_says_what_the_trailers_say() -> None:
    relayed = encode_details(5, "the text of another server", [Duration()])
    assert fit_details(relayed, 5, "cut...", 1000) == (encode_details(5, "cut...", [Duration()]), 0)
    assert fit_details(relayed, 13, "x", 1000) == (b"", 0)
    assert fit_details(b"\xff", 5, "x", 1000) == (b"", 0)


TYPES_OF_GOOGLE_RPC = """
import sys
from google.protobuf import any_pb2
from gyrfalcon.rpc.rich_status import decode_details, encode_details

reason = any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\\n\\x04GONE")
pause = any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Duration", value=b"\\x08\\x03")
data = encode_details(5, "", [reason, pause])
assert "google.rpc.error_details_pb2" not in sys.modules
assert "google.protobuf.duration_pb2" not in sys.modules
"""


def test_usual_types_are_known_without_an_import_of_the_program() -> None:
    program = f"""{TYPES_OF_GOOGLE_RPC}
first, second = decode_details(data, 5)
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
assert first == ErrorInfo(reason="GONE"), first
assert second == Duration(seconds=3), second
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stderr, run.returncode) == ("", 0)


def test_without_googleapis_common_protos_its_types_stay_any() -> None:
    program = f"""{TYPES_OF_GOOGLE_RPC}
sys.modules["google.rpc"] = None
assert decode_details(data, 5)[0] == reason
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stderr, run.returncode) == ("", 0)


def test_a_peer_cannot_have_other_modules_imported() -> None:
    names = ["antigravity.X", "google.rpc.context.attribute_context_pb2.X", "google.rpc.NoSuchType"]
    details = tuple(Any(type_url=f"type.googleapis.com/{name}") for name in names)
    before = set(sys.modules)
    assert decode_details(encode_details(9, "", details), 9) == details
    assert {name for name in set(sys.modules) - before if "google.rpc" not in name} == set()


def test_something_else_than_a_message_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="'reason' is str"):
        encode_details(5, "", ["reason"])  # type: ignore[list-item]


@given(st.binary())
def test_reading_never_fails(data: bytes) -> None:
    assert isinstance(decode_details(data, 5), tuple)


@pytest.mark.parametrize("order", ["before", "after"])
def test_does_not_clash_with_a_google_rpc_status_in_the_default_pool(order: str) -> None:
    """googleapis-common-protos may be imported before or after the first details are made."""
    program = f"""
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.duration_pb2 import Duration
from gyrfalcon.rpc.rich_status import decode_details, encode_details

def install():
    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto", package="google.rpc", syntax="proto3",
        dependency=["google/protobuf/any.proto"],
    )
    file.options.java_package = "com.google.rpc"
    kind = file.message_type.add(name="Status")
    kind.field.add(name="code", number=1, label=1, type=5)
    kind.field.add(name="message", number=2, label=1, type=9)
    kind.field.add(
        name="details", number=3, label=3, type=11, type_name=".google.protobuf.Any"
    )
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())

if {order!r} == "before":
    install()
data = encode_details(5, "no", [Duration(seconds=3)])
if {order!r} == "after":
    install()
theirs = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName("google.rpc.Status")
).FromString(data)
assert (theirs.code, theirs.message) == (5, "no")
duration = Duration()
assert theirs.details[0].Unpack(duration)
assert decode_details(theirs.SerializeToString(), 5) == (Duration(seconds=3),) == (duration,)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stderr == ""
    assert run.returncode == 0
