"""Texts of strangers on one line."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BytesValue, StringValue
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon.rpc.quoting import quote, quote_details, quote_message, quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Zürich 日本 🏔", "Zürich 日本 🏔"),
        ("a\nINFO forged", r"a\nINFO forged"),
        ("a\r\t\x00\x1b[31m", r"a\r\t\x00\x1b[31m"),
        ("\u202e\u2028\x85", r"\u202e\u2028\x85"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, expected: str) -> None:
    assert quote(text) == expected


@given(st.text(st.characters(codec=None), max_size=600))
def test_one_line_whatever_it_is(text: str) -> None:
    assert len(quote(text).splitlines()) <= 1
    assert quote(text).isprintable()
    assert quoted(text).isprintable()


def test_what_is_long_is_cut_and_says_so() -> None:
    assert quote("x" * 500) == "x" * 500
    assert quote("x" * 501) == "x" * 500 + "... (501 characters)"
    assert quoted("\n" * 3, limit=2) == r"'\n\n'... (3 characters)"


def test_a_message_has_its_type_and_its_fields() -> None:
    assert quote_message(Duration(seconds=3)) == "google.protobuf.Duration {seconds: 3}"
    assert (
        quote_message(StringValue(value="a\nü")) == r'google.protobuf.StringValue {value: "a\nü"}'
    )
    long = quote_message(BytesValue(value=b"x" * 5000))
    assert long.endswith("... (5009 characters)}")


def test_an_any_that_cannot_be_read_is_shown_as_it_is() -> None:
    unknown = Any(type_url="type.googleapis.com/nobody.knows.This", value=b"\x08\x01")
    assert quote_message(unknown) == (
        'google.protobuf.Any {type_url: "type.googleapis.com/nobody.knows.This"'
        r' value: "\010\001"}'
    )
    broken = Any(type_url="type.googleapis.com/google.protobuf.Duration", value=b"\x08")
    assert quote_message(broken).startswith("google.protobuf.Any {")


def test_of_many_details_the_first_are_shown() -> None:
    details = [Duration(seconds=number) for number in range(1, 7)]
    shown = [f"google.protobuf.Duration {{seconds: {number}}}" for number in range(1, 5)]
    assert quote_details(details) == ", ".join([*shown, "and 2 more"])
