"""Compression: whole messages only, and never more output than the limit."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

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
    DeflateCompression,
    GzipCompression,
    MessageTooLargeError,
    ZstdCompression,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD = ZstdCompression()
EVERY = [GZIP, DEFLATE, ZSTD, IDENTITY]
FORMATS = [GZIP, DEFLATE, ZSTD]
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


@given(st.sampled_from(FORMATS), st.binary(), st.data())
def test_cut_messages_are_refused(
    compression: Compression, data: bytes, draw: st.DataObject
) -> None:
    packed = compression.compress(data)
    cut = draw.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(CorruptMessageError, match="cut short"):
        compression.decompress(packed[:cut], MIB)


@given(st.sampled_from(FORMATS), st.binary(), st.binary(min_size=1))
def test_trailing_bytes_are_refused(compression: Compression, data: bytes, rest: bytes) -> None:
    with pytest.raises(CorruptMessageError, match=f"followed by {len(rest)} other bytes"):
        compression.decompress(compression.compress(data) + rest, MIB)


@given(st.sampled_from(FORMATS), st.binary(), st.integers(0, 4096))
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

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inflater, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(MessageTooLargeError, match="max_receive_bytes"):
        compression.decompress(bomb, 4 * MIB)
    assert sum(asked) == 4 * MIB + 1


@pytest.mark.parametrize("compression", [*FORMATS, ZSTD])
@pytest.mark.parametrize("size", [0, 1, MIB // 4, MIB // 4 + 1, MIB, 4 * MIB - 1, 4 * MIB])
def test_a_message_that_grows_far_is_whole(compression: Compression, size: int) -> None:
    assert compression.decompress(compression.compress(bytes(size)), 4 * MIB) == bytes(size)


@pytest.mark.parametrize("compression", [*FORMATS, ZSTD])
def test_a_message_that_grows_far_may_be_cut_or_damaged(compression: Compression) -> None:
    packed = compression.compress(bytes(MIB))
    with pytest.raises(CorruptMessageError, match="cut short"):
        compression.decompress(packed[: len(packed) // 2], 4 * MIB)
    with pytest.raises(CorruptMessageError, match="followed by"):
        compression.decompress(packed + b"x", 4 * MIB)


@pytest.mark.parametrize("compression", FORMATS)
def test_several_members_are_refused(compression: Compression) -> None:
    with pytest.raises(CorruptMessageError, match="followed by"):
        compression.decompress(compression.compress(b"a") + compression.compress(b"b"), MIB)


def test_a_zstd_bomb_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB of zeros in 6 KiB: the decoder is asked for no more than limit + 1 bytes."""
    bomb = ZSTD.compress(bytes(64 * MIB))
    asked: list[int] = []

    inflate = zstd.ZstdDecompressor

    class Watched:
        def __init__(self, **options: Any) -> None:
            self.inflater = inflate(**options)

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return self.inflater.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inflater, name)

    monkeypatch.setattr(zstd, "ZstdDecompressor", Watched)
    with pytest.raises(MessageTooLargeError, match="max_receive_bytes"):
        ZSTD.decompress(bomb, 4 * MIB)
    assert sum(asked) == 4 * MIB + 1


def zstd_of_window(log: int) -> bytes:
    """A stream of unknown length, so that its decoder has to hold a window of 2 ** log bytes."""
    stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    return stream.compress(b"x" * 1000, zstd.ZstdCompressor.FLUSH_BLOCK) + stream.flush()


def test_a_zstd_window_is_held_up_to_8_mib_or_the_limit() -> None:
    assert ZSTD.decompress(zstd_of_window(23), 4 * MIB) == b"x" * 1000
    with pytest.raises(CorruptMessageError, match="memory"):
        ZSTD.decompress(zstd_of_window(24), 4 * MIB)
    assert ZSTD.decompress(zstd_of_window(24), 16 * MIB) == b"x" * 1000


def test_zstd_skips_no_frames() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    with pytest.raises(CorruptMessageError, match="followed by"):
        ZSTD.decompress(skippable + ZSTD.compress(b"x"), MIB)


@pytest.mark.parametrize(
    ("kind", "top"),
    [(GzipCompression, 9), (DeflateCompression, 9), (ZstdCompression, 19)],
    ids=["gzip", "deflate", "zstd"],
)
def test_a_level_changes_the_size_and_nothing_else(
    kind: Callable[[int], Compression], top: int
) -> None:
    data = b"".join(b"%d " % (number * number) for number in range(5000))
    fast, small = kind(1), kind(top)
    assert fast.name == small.name
    assert len(fast.compress(data)) > len(small.compress(data))
    assert small.decompress(fast.compress(data), MIB) == data
    for level in (-2, 42):
        with pytest.raises(ValueError, match=f"level={level} is out of range"):
            kind(level)


def test_without_a_module_for_it_zstd_is_not_offered_and_the_remedy_is_named() -> None:
    program = """
import importlib.util, sys
find = importlib.util.find_spec
def find_spec(name, package=None):
    if "zstd" in name:
        raise ModuleNotFoundError("No module named 'backports'")
    return find(name, package)
importlib.util.find_spec = find_spec
import gyrfalcon as gyr
assert gyr.COMPRESSIONS.accept_encoding == "identity,deflate,gzip", gyr.COMPRESSIONS.names()
for make in (gyr.ZstdCompression, lambda: gyr.COMPRESSIONS.choose("zstd")):
    try:
        make()
    except (ImportError, ValueError) as error:
        assert str(error).endswith("install gyrfalcon[zstd]"), error
    else:
        raise AssertionError("zstd without a module for it")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stderr, run.returncode) == ("", 0)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="every other test here is about it")
def test_from_python_3_14_on_it_is_the_standard_library_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has its names there, since no such Python is at hand; backports.zstd is a copy of it."""
    interpreter, package = SimpleNamespace(version_info=(3, 14)), ModuleType("compression")
    native = ModuleType("_zstd")
    native.__spec__ = ModuleSpec("_zstd", None)
    package.zstd = zstd  # type: ignore[attr-defined]
    data = ZSTD.compress(b"x" * 1000)
    with monkeypatch.context() as patch:
        patch.setattr("gyrfalcon.rpc.compression.sys", interpreter)
        patch.setitem(sys.modules, "backports", None)
        with pytest.raises(ImportError, match=r"zstd needs Python 3\.14"):
            ZstdCompression()
        patch.setitem(sys.modules, "_zstd", native)
        patch.setitem(sys.modules, "compression", package)
        patch.setitem(sys.modules, "compression.zstd", zstd)
        stdlib = ZstdCompression()
        assert stdlib.compress(b"x" * 1000) == data
        assert stdlib.decompress(data, MIB) == b"x" * 1000
        with pytest.raises(MessageTooLargeError):
            stdlib.decompress(data, 999)


def test_importing_does_not_load_zstd() -> None:
    program = "import sys, gyrfalcon.rpc; print([m for m in sys.modules if 'zstd' in m])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stderr, run.stdout) == ("", "[]\n")


def test_registry_knows_the_names_of_grpc() -> None:
    assert COMPRESSIONS.names() == ("identity", "deflate", "gzip", "zstd")
    assert COMPRESSIONS.accept_encoding == "identity,deflate,gzip,zstd"
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
    with pytest.raises(TypeError, match="compression=True is bool: pass a name"):
        COMPRESSIONS.choose(True)  # type: ignore[arg-type]


class Named(GzipCompression):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def test_registry_takes_compressions_of_others() -> None:
    fast = Named("gzip-fast")
    assert isinstance(fast, Compression)
    registry = CompressionRegistry(GZIP)
    registry.register(fast)
    assert registry.get("gzip-fast") is fast
    assert registry.accept_encoding == "identity,gzip,gzip-fast"


@pytest.mark.parametrize("name", ["", "a,b", "GZIP", "a b", "identity", "ü"])
def test_registry_refuses_a_name_that_cannot_be_sent(name: str) -> None:
    with pytest.raises(ValueError, match=f"compression name '{name}'"):
        CompressionRegistry(Named(name))
