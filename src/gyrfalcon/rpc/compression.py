"""Message compression: gzip, deflate, zstd, and what programs add (gRPC `compression`)."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Generator
from importlib.util import find_spec
from typing import Any, Final, Protocol, runtime_checkable

# zlib's window bits: 15 is the largest window in zlib format (RFC 1950), which gRPC calls deflate;
# 16 more is gzip format (RFC 1952).
_DEFLATE_WBITS: Final = 15
_GZIP_WBITS: Final = 31
# RFC 8878 3.1.1.1.2 asks decoders for windows of 8 MiB; the format ends at 2 GiB.
_ZSTD_WINDOW_LOG: Final = 23
_ZSTD_WINDOW_LOG_MAX: Final = 31
# Of what is inflated at a time; a message is put together of such parts.
_PART: Final = 256 * 1024


class CorruptMessageError(Exception):
    """Compressed data is damaged, cut, or followed by something else. The call ends INTERNAL."""


class MessageTooLargeError(Exception):
    """A message is larger than the limit once inflated. The call ends RESOURCE_EXHAUSTED."""


@runtime_checkable
class Compression(Protocol):
    """One way to compress messages. Safe to share by threads.

    It may have one method more, `inflate(data, limit)`: a generator that does what `decompress`
    does, lets its caller have other work done after every part of some 256 KiB by yielding the
    part's size, and returns the message. It is used in place of `decompress` where it is there.
    """

    @property
    def name(self) -> str:
        """What `grpc-encoding` says: "gzip". Lower case."""
        ...

    def compress(self, data: bytes, /) -> bytes:
        """The compressed form of a message."""
        ...

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        """The message; `limit` is its largest size in bytes.

        Holds at most `limit` + 1 bytes of output. Raises MessageTooLargeError when there would be
        more than `limit`, CorruptMessageError when `data` is not exactly one whole message.
        """
        ...


class _ZlibCompression:
    """A format of zlib.

    A message is one gzip member: several in a row, which RFC 1952 allows in files and no gRPC
    implementation sends, are refused, because a row of tiny ones costs far more work than its size.
    """

    __slots__ = ("_level", "_wbits", "name")

    def __init__(self, name: str, wbits: int, level: int) -> None:
        if not -1 <= level <= 9:
            raise ValueError(
                f"level={level!r} is out of range: {name} has the levels 0 to 9, and -1, zlib's own"
                " choice"
            )
        self.name = name
        self._wbits = wbits
        self._level = level

    def compress(self, data: bytes, /) -> bytes:
        return zlib.compress(data, self._level, self._wbits)

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        return _run(self.inflate(data, limit))

    def inflate(self, data: bytes, limit: int, /) -> Generator[int, None, bytes]:
        inflater = zlib.decompressobj(self._wbits)
        try:
            message = yield from _inflate(
                inflater, lambda: inflater.unconsumed_tail, self.name, data, limit
            )
        except zlib.error as error:
            raise CorruptMessageError(f"{self.name} message is damaged: {error}") from None
        return _whole(self.name, message, limit, data, inflater)

    def __repr__(self) -> str:
        return f"<compression {self.name}>"


class GzipCompression(_ZlibCompression):
    """gzip (RFC 1952). `level`: from 1, fast, to 9, small; -1 is zlib's own choice, 6.

    Raises ValueError for another level.
    """

    __slots__ = ()

    def __init__(self, level: int = zlib.Z_DEFAULT_COMPRESSION) -> None:
        super().__init__("gzip", _GZIP_WBITS, level)


class DeflateCompression(_ZlibCompression):
    """What gRPC calls deflate: zlib's format (RFC 1950). `level` as in GzipCompression."""

    __slots__ = ()

    def __init__(self, level: int = zlib.Z_DEFAULT_COMPRESSION) -> None:
        super().__init__("deflate", _DEFLATE_WBITS, level)


class IdentityCompression:
    """No compression."""

    __slots__ = ()

    name: str = "identity"

    def compress(self, data: bytes, /) -> bytes:
        return data

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        if len(data) > limit:
            raise _too_large(self.name, limit)
        return data

    def __repr__(self) -> str:
        return "<compression identity>"


class ZstdCompression:
    """zstd (RFC 8878). `level`: from 1, fast, to 19, small; 3 is zstd's own choice.

    It stands on compression.zstd of Python 3.14, and before that on backports.zstd, which the extra
    `gyrfalcon[zstd]` brings. Raises ImportError where neither is installed, ValueError for another
    level. A message is one frame. Its window, which a decoder holds, is at most 8 MiB (RFC 8878
    3.1.1.1.2) or what the limit needs; a frame that claims more is refused before that is held.
    """

    __slots__ = ("_level", "name")

    def __init__(self, level: int = 3) -> None:
        if not zstd_is_installed():
            raise ImportError("zstd needs Python 3.14 or backports.zstd: install gyrfalcon[zstd]")
        if not 1 <= level <= 19:
            raise ValueError(f"level={level!r} is out of range: zstd has the levels 1 to 19 here")
        self.name = "zstd"
        self._level = level

    def compress(self, data: bytes, /) -> bytes:
        packed: bytes = _zstd().compress(data, level=self._level)
        return packed

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        return _run(self.inflate(data, limit))

    def inflate(self, data: bytes, limit: int, /) -> Generator[int, None, bytes]:
        zstd = _zstd()
        window_log = min(max(_ZSTD_WINDOW_LOG, limit.bit_length()), _ZSTD_WINDOW_LOG_MAX)
        inflater = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: window_log}
        )
        try:
            message = yield from _inflate(inflater, lambda: b"", self.name, data, limit)
        except zstd.ZstdError as error:
            raise CorruptMessageError(f"zstd message is damaged: {error}") from None
        return _whole(self.name, message, limit, data, inflater)

    def __repr__(self) -> str:
        return f"<compression {self.name}>"


def zstd_is_installed() -> bool:
    """Whether there is a module for zstd, without loading it: that takes some milliseconds."""
    name = "_zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return find_spec(name) is not None
    except ImportError:  # there is no package backports at all
        return False


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _run(steps: Generator[int, None, bytes]) -> bytes:
    """What they return."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            message: bytes = stop.value
            return message


def _inflate(
    inflater: Any, rest: Callable[[], bytes], name: str, data: bytes, limit: int
) -> Generator[int, None, bytes]:
    """What `data` inflates to, put together last: a bomb is to be held once, and an inflater holds
    what it has twice. Yields the size of each part but the last; `rest` gives what the inflater has
    not taken of the data."""
    parts: list[bytes] = []
    size = 0
    part = inflater.decompress(data, min(_PART, limit + 1))
    while part:
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _too_large(name, limit)
        if inflater.eof:
            break
        yield len(part)
        part = inflater.decompress(rest(), min(_PART, limit + 1 - size))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _whole(name: str, message: bytes, limit: int, data: bytes, inflater: Any) -> bytes:
    """`message`, if it is within the limit and all of what `data` should hold."""
    if len(message) > limit:
        raise _too_large(name, limit)
    if not inflater.eof:
        raise CorruptMessageError(f"{name} message of {len(data)} bytes is cut short")
    if inflater.unused_data:
        raise CorruptMessageError(
            f"{name} message is followed by {len(inflater.unused_data)} other bytes"
        )
    return message


def _too_large(name: str, limit: int) -> MessageTooLargeError:
    return MessageTooLargeError(
        f"{name} message is larger than the limit of {limit} bytes: raise max_receive_bytes, or"
        " send less"
    )


IDENTITY: Final = IdentityCompression()
GZIP: Final = GzipCompression()
DEFLATE: Final = DeflateCompression()


class CompressionRegistry:
    """Compressions by name. Fill it before serving; it is read without a lock."""

    __slots__ = ("_by_name", "accept_encoding")

    accept_encoding: str
    """The value of `grpc-accept-encoding`."""

    def __init__(self, *compressions: Compression) -> None:
        self._by_name: dict[str, Compression] = {IDENTITY.name: IDENTITY}
        self.accept_encoding = IDENTITY.name
        for compression in compressions:
            self.register(compression)

    def register(self, compression: Compression) -> None:
        """Add a compression, in place of the one that had its name.

        Raises ValueError for a name that cannot stand in `grpc-encoding`, and for "identity".
        """
        name = compression.name
        if not (name.isascii() and name.replace("-", "").isalnum() and name == name.lower()):
            raise ValueError(f"compression name {name!r} cannot be sent: use only 0-9 a-z -")
        if name == IDENTITY.name:
            raise ValueError("compression name 'identity' means no compression: use another name")
        self._by_name[name] = compression
        self.accept_encoding = ",".join(self._by_name)

    def get(self, name: str) -> Compression | None:
        """The compression of that name, or None."""
        return self._by_name.get(name)

    def choose(self, wanted: Compression | str | None) -> Compression:
        """The compression that a `compression=` option stands for; None is identity.

        Raises ValueError for a name that is not registered, TypeError for what is neither a name
        nor a Compression.
        """
        if wanted is None:
            return IDENTITY
        if isinstance(wanted, str):
            found = self._by_name.get(wanted)
            if found is None:
                raise ValueError(
                    f"compression {wanted!r} is not known: use one of {', '.join(self._by_name)},"
                    f" or {_REMEDIES.get(wanted, 'register it')}"
                )
            return found
        if not hasattr(wanted, "compress"):
            raise TypeError(
                f"compression={wanted!r} is {type(wanted).__name__}: pass a name, as 'gzip', or a"
                " Compression"
            )
        return wanted

    def names(self) -> tuple[str, ...]:
        """The names, identity first, then in order of registration."""
        return tuple(self._by_name)


_REMEDIES: Final = {"zstd": "install gyrfalcon[zstd]"}
COMPRESSIONS: Final = CompressionRegistry(DEFLATE, GZIP)
if zstd_is_installed():
    COMPRESSIONS.register(ZstdCompression())
