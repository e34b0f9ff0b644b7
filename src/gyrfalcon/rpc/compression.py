"""Message compression: gzip, deflate, and what programs add (gRPC `compression`)."""

from __future__ import annotations

import zlib
from typing import Final, Protocol, runtime_checkable

# zlib's window bits: 15 is the largest window in zlib format (RFC 1950), which gRPC calls deflate;
# 16 more is gzip format (RFC 1952).
_DEFLATE_WBITS: Final = 15
_GZIP_WBITS: Final = 31


class CorruptMessageError(Exception):
    """Compressed data is damaged, cut, or followed by something else. The call ends INTERNAL."""


class MessageTooLargeError(Exception):
    """A message is larger than the limit once inflated. The call ends RESOURCE_EXHAUSTED."""


@runtime_checkable
class Compression(Protocol):
    """One way to compress messages. Safe to share by threads."""

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


class ZlibCompression:
    """gzip or deflate, by zlib.

    A message is one gzip member: several in a row, which RFC 1952 allows in files and no gRPC
    implementation sends, are refused, because a row of tiny ones costs far more work than its size.
    """

    __slots__ = ("_level", "_wbits", "name")

    def __init__(self, name: str, wbits: int, level: int = zlib.Z_DEFAULT_COMPRESSION) -> None:
        self.name = name
        self._wbits = wbits
        self._level = level

    def compress(self, data: bytes, /) -> bytes:
        return zlib.compress(data, self._level, self._wbits)

    def decompress(self, data: bytes, limit: int, /) -> bytes:
        inflater = zlib.decompressobj(self._wbits)
        try:
            message = inflater.decompress(data, limit + 1)
        except zlib.error as error:
            raise CorruptMessageError(f"{self.name} message is damaged: {error}") from None
        if len(message) > limit:
            raise _too_large(self.name, limit)
        if not inflater.eof:
            raise CorruptMessageError(f"{self.name} message of {len(data)} bytes is cut short")
        if inflater.unused_data:
            raise CorruptMessageError(
                f"{self.name} message is followed by {len(inflater.unused_data)} other bytes"
            )
        return message

    def __repr__(self) -> str:
        return f"<compression {self.name}>"


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


def _too_large(name: str, limit: int) -> MessageTooLargeError:
    return MessageTooLargeError(
        f"{name} message is larger than the limit of {limit} bytes: raise max_receive_bytes, or"
        " send less"
    )


IDENTITY: Final = IdentityCompression()
GZIP: Final = ZlibCompression("gzip", _GZIP_WBITS)
DEFLATE: Final = ZlibCompression("deflate", _DEFLATE_WBITS)


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

        Raises ValueError for a name that is not registered.
        """
        if wanted is None:
            return IDENTITY
        if not isinstance(wanted, str):
            return wanted
        found = self._by_name.get(wanted)
        if found is None:
            raise ValueError(
                f"compression {wanted!r} is not known: use one of {', '.join(self._by_name)}, or"
                " register it"
            )
        return found

    def names(self) -> tuple[str, ...]:
        """The names, identity first, then in order of registration."""
        return tuple(self._by_name)


COMPRESSIONS: Final = CompressionRegistry(DEFLATE, GZIP)
