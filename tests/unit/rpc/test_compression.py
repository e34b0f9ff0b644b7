"""Compression: whole messages only, and never more output than the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon.rpc import (
    COMPRESSIONS,
    DEFLATE,
    GZIP,
    IDENTITY,
    Compression,
    CompressionRegistry,
    CorruptMessageError,
    MessageTooLargeError,
)
from gyrfalcon.rpc.compression import ZlibCompression

EVERY = [GZIP, DEFLATE, IDENTITY]
ZLIB = [GZIP, DEFLATE]
MIB = 2**20

compressions = st.sampled_from(EVERY)


@given(compressions, st.binary(), st.integers(0, 100))
def test_messages_come_back(compression: Compression, data: bytes, slack: int) -> None:
    assert compression.decompress(compression.compress(data), len(data) + slack) == data


@given(compressions, st.binary(min_size=1), st.data())
def test_one_byte_over_the_limit_is_refused(
    compression: Compression, data: bytes, draw: st.DataObject
) -> None:
    limit = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(MessageTooLargeError, match=f"limit of {limit} bytes"):
        compression.decompress(compression.compress(data), limit)


@given(st.sampled_from(ZLIB), st.binary(), st.data())
def test_cut_messages_are_refused(
    compression: Compression, data: bytes, draw: st.DataObject
) -> None:
    packed = compression.compress(data)
    cut = draw.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(CorruptMessageError, match="cut short"):
        compression.decompress(packed[:cut], MIB)


@given(st.sampled_from(ZLIB), st.binary(), st.binary(min_size=1))
def test_trailing_bytes_are_refused(compression: Compression, data: bytes, rest: bytes) -> None:
    with pytest.raises(CorruptMessageError, match=f"followed by {len(rest)} other bytes"):
        compression.decompress(compression.compress(data) + rest, MIB)


@given(st.sampled_from(ZLIB), st.binary(), st.integers(0, 4096))
def test_whatever_arrives_ends_in_a_message_or_one_of_two_errors(
    compression: Compression, data: bytes, limit: int
) -> None:
    try:
        message = compression.decompress(data, limit)
    except (CorruptMessageError, MessageTooLargeError):
        return
    assert len(message) <= limit


@given(st.sampled_from(ZLIB), st.binary(min_size=1), st.data())
def test_a_changed_byte_never_gives_another_message(
    compression: Compression, data: bytes, draw: st.DataObject
) -> None:
    packed = bytearray(compression.compress(data))
    packed[draw.draw(st.integers(0, len(packed) - 1))] ^= draw.draw(st.integers(1, 255))
    try:
        message = compression.decompress(bytes(packed), MIB)
    except (CorruptMessageError, MessageTooLargeError):
        return
    assert message == data


def test_formats_are_those_of_the_rfcs() -> None:
    data = b"gyrfalcon " * 100
    assert gzip.decompress(GZIP.compress(data)) == data
    assert GZIP.decompress(gzip.compress(data), MIB) == data
    assert zlib.decompress(DEFLATE.compress(data)) == data
    assert DEFLATE.decompress(zlib.compress(data, 9), MIB) == data


def test_formats_are_not_confused() -> None:
    with pytest.raises(CorruptMessageError):
        GZIP.decompress(DEFLATE.compress(b"x"), MIB)
    with pytest.raises(CorruptMessageError):
        DEFLATE.decompress(GZIP.compress(b"x"), MIB)
    with pytest.raises(CorruptMessageError):
        DEFLATE.decompress(zlib.compress(b"x", wbits=-15), MIB)


@pytest.mark.parametrize("compression", ZLIB)
def test_a_bomb_stops_at_the_limit(
    compression: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB of zeros in 64 KiB: the inflater is never asked for more than limit + 1 bytes."""
    bomb = compression.compress(bytes(64 * MIB))
    inflate = zlib.decompressobj
    asked: list[int] = []

    class Watched:
        def __init__(self, wbits: int) -> None:
            self.inflater = inflate(wbits)

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return self.inflater.decompress(data, most)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(MessageTooLargeError, match="max_receive_bytes"):
        compression.decompress(bomb, 4 * MIB)
    assert asked == [4 * MIB + 1]


def test_several_gzip_members_are_refused() -> None:
    with pytest.raises(CorruptMessageError, match="followed by"):
        GZIP.decompress(GZIP.compress(b"a") + GZIP.compress(b"b"), MIB)


def test_registry_knows_the_names_of_grpc() -> None:
    assert COMPRESSIONS.names() == ("identity", "deflate", "gzip")
    assert COMPRESSIONS.accept_encoding == "identity,deflate,gzip"
    assert COMPRESSIONS.get("gzip") is GZIP
    assert COMPRESSIONS.get("deflate") is DEFLATE
    assert COMPRESSIONS.get("identity") is IDENTITY
    assert COMPRESSIONS.get("br") is None


def test_registry_chooses_by_name_object_or_none() -> None:
    assert COMPRESSIONS.choose(None) is IDENTITY
    assert COMPRESSIONS.choose("gzip") is GZIP
    assert COMPRESSIONS.choose(DEFLATE) is DEFLATE
    with pytest.raises(ValueError, match="compression 'br' is not known: use one of identity, "):
        COMPRESSIONS.choose("br")


def test_registry_takes_compressions_of_others() -> None:
    fast = ZlibCompression("gzip-fast", 31, level=1)
    assert isinstance(fast, Compression)
    registry = CompressionRegistry(GZIP)
    registry.register(fast)
    assert registry.get("gzip-fast") is fast
    assert registry.accept_encoding == "identity,gzip,gzip-fast"


@pytest.mark.parametrize("name", ["", "a,b", "GZIP", "a b", "identity", "ü"])
def test_registry_refuses_a_name_that_cannot_be_sent(name: str) -> None:
    with pytest.raises(ValueError, match=f"compression name '{name}'"):
        CompressionRegistry(ZlibCompression(name, 31))
