"""grpc-timeout, grpc-message and -bin values: they come back as they went, bad ones are named."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon._core.coding import (
    decode_binary,
    decode_text,
    encode_binary,
    encode_text,
    format_timeout,
    parse_timeout,
)

UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.integers(0, 99999999), st.sampled_from(sorted(UNITS)))
def test_a_timeout_of_any_unit_is_read(count: int, unit: str) -> None:
    assert parse_timeout(f"{count}{unit}".encode()) == pytest.approx(count * UNITS[unit])


@given(st.floats(0, 1e8))
def test_a_timeout_is_written_in_eight_digits_and_never_shortened(seconds: float) -> None:
    text = format_timeout(seconds)
    assert re.fullmatch(rb"[0-9]{1,8}[HMSmun]", text) is not None
    assert parse_timeout(text) >= seconds * (1 - 1e-12)
    assert parse_timeout(text) <= seconds * 1.05 + 1e-6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, b"0n"),
        (-1.0, b"0n"),
        (float("nan"), b"0n"),
        (1e-9, b"1u"),
        (0.5, b"500m"),
        (5.0, b"5000m"),
        (1e6, b"1000000S"),
        (float("inf"), b"99999999H"),
        (1e300, b"99999999H"),
    ],
)
def test_a_timeouts_text(seconds: float, text: bytes) -> None:
    assert format_timeout(seconds) == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"S",
        b"1",
        b"123456789S",
        b"-1S",
        b"+1S",
        b"1.5S",
        b" 1S",
        b"1S ",
        b"1s",
        b"\0S",
        b"\xb2S",
    ],
)
def test_a_malformed_timeout_is_refused_and_named(text: bytes) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_timeout(text)


@given(st.binary(max_size=12))
def test_any_timeout_is_read_as_the_grammar_says(text: bytes) -> None:
    if re.fullmatch(rb"[0-9]{1,8}[HMSmun]", text):
        assert parse_timeout(text) >= 0
    else:
        with pytest.raises(ValueError, match="grpc-timeout"):
            parse_timeout(text)


@given(TEXT)
def test_a_status_message_comes_back_and_is_printable_ascii_on_the_way(text: str) -> None:
    encoded = encode_text(text)
    assert re.fullmatch(rb"[ -~]*", encoded) is not None
    assert decode_text(encoded) == text


@given(TEXT, st.integers(4, 100))
def test_a_cut_status_message_fits_and_is_cut_at_a_character(text: str, limit: int) -> None:
    encoded = encode_text(text, limit)
    assert len(encoded) <= max(limit, 3)
    if encoded != encode_text(text):
        assert encoded.endswith(b"...")
        assert text.startswith(decode_text(encoded[:-3]))


@given(st.binary())
def test_decoding_a_status_message_never_fails(data: bytes) -> None:
    assert decode_text(data).count("%") <= data.count(b"%")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"100%", "100%"),
        (b"%4", "%4"),
        (b"%zz%41", "%zzA"),
        (b"%e2%82%AC", "€"),
        (b"%E2%82", "\N{REPLACEMENT CHARACTER}"),
        (b"%2541", "%41"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_is_no_escape_stays_as_it_is(data: bytes, text: str) -> None:
    assert decode_text(data) == text


@given(st.binary())
def test_a_binary_value_comes_back_and_travels_unpadded(value: bytes) -> None:
    encoded = encode_binary(value)
    assert encoded == base64.b64encode(value).rstrip(b"=")
    assert decode_binary(encoded) == [value]
    assert decode_binary(base64.b64encode(value)) == [value]


@given(st.lists(st.tuples(st.binary(), st.booleans()), min_size=1))
def test_joined_binary_values_are_taken_apart_padded_or_not(
    values: list[tuple[bytes, bool]],
) -> None:
    joined = b",".join(
        base64.b64encode(value) if padded else encode_binary(value) for value, padded in values
    )
    assert decode_binary(joined) == [value for value, _ in values]


@pytest.mark.parametrize("text", [b"A", b"AAAAA", b"A*AA", b"AA==AA", b"AA,A", b"=A", b"\xff\xff"])
def test_what_is_not_base64_is_refused_and_named(text: bytes) -> None:
    with pytest.raises(ValueError, match="is not base64"):
        decode_binary(text)


@given(st.binary())
def test_any_binary_field_decodes_to_a_value_a_part_or_is_refused(text: bytes) -> None:
    parts = [part.strip().rstrip(b"=") for part in text.split(b",")]
    if all(re.fullmatch(rb"[A-Za-z0-9+/]*", part) and len(part) % 4 != 1 for part in parts):
        assert len(decode_binary(text)) == len(parts)
    else:
        with pytest.raises(ValueError, match="is not base64"):
            decode_binary(text)
