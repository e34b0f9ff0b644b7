"""Metadata: the key-value pairs that travel before and after the messages of a call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar, overload

_T = TypeVar("_T")

_KEY_CHARACTERS: Final = frozenset("0123456789abcdefghijklmnopqrstuvwxyz_.-")
_SHOWN: Final = 64

_RESERVED: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)


class Metadata:
    """An ordered multi-mapping of keys to values: `str`, or `bytes` for keys that end in `-bin`.

    It is made from a mapping (a value may be a list), from pairs, or from other metadata.
    `md[key]` is the first value of a key, `md.get_all(key)` every value, `md.items()` every pair
    in order, `len(md)` the number of pairs; iteration gives each key once.

    Keys are case-insensitive and kept in lower case. They consist of `0-9 a-z _ . -`
    (`PROTOCOL-HTTP2`, Custom-Metadata). Text values are printable ASCII (0x20 to 0x7E); blanks at
    either end are taken off, because a field value must not have any (RFC 9113 section 8.2.1).

    These keys belong to the protocol and are refused with ValueError:

    - `grpc-*`, and pseudo headers (`:path`, ...): the framework writes them;
    - `content-type`, `te`, `user-agent`, `host`: written by the framework too; a second copy would
      make the request ambiguous for proxies (the channel has options for user agent and authority);
    - `connection`, `keep-alive`, `proxy-connection`, `transfer-encoding`, `upgrade`: forbidden in
      HTTP/2 (RFC 9113 section 8.2.2), a peer treats the whole message as malformed;
    - `content-length`, `trailer`: statements about the body, which only its sender can make.

    What a peer sent is kept as it came, so it may hold such keys; they are left out when
    received metadata is copied with `Metadata(md)` or sent on. A value that cannot be sent raises
    ValueError there.

    Not locked: one task or thread at a time may change an object.
    """

    __slots__ = ("_pairs", "_received")

    _pairs: list[tuple[str, str | bytes]]
    _received: bool

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, metadata: MetadataLike = None) -> None:
        self._pairs = [] if metadata is None else pairs(metadata)
        self._received = False

    @classmethod
    def _from_wire(cls, received: list[tuple[str, str | bytes]]) -> Metadata:
        """Metadata of what a peer sent: keeps the list itself and checks nothing.

        Keys are in lower case (HTTP/2 has no others) and values of `-bin` keys are bytes.
        """
        self = cls.__new__(cls)
        self._pairs = received
        self._received = True
        return self

    def __getitem__(self, key: str) -> str | bytes:
        wanted = key.lower()
        for name, value in self._pairs:
            if name == wanted:
                return value
        raise KeyError(key)

    @overload
    def get(self, key: str) -> str | bytes | None: ...
    @overload
    def get(self, key: str, default: _T) -> str | bytes | _T: ...
    def get(self, key: str, default: object = None) -> object:
        """The first value of `key`, or `default`."""
        wanted = key.lower()
        for name, value in self._pairs:
            if name == wanted:
                return value
        return default

    def get_all(self, key: str) -> list[str | bytes]:
        """Every value of `key`, in order; empty when there is none."""
        wanted = key.lower()
        return [value for name, value in self._pairs if name == wanted]

    def add(self, key: str, value: str | bytes) -> None:
        """Add a pair at the end. Raises ValueError for a key or a value that cannot be sent."""
        key = _checked_key(key)
        self._pairs.append((key, _checked_value(key, value)))

    def __setitem__(self, key: str, value: str | bytes | Sequence[str | bytes]) -> None:
        """Replace every value of `key`; the new ones stand where the first old one stood."""
        new = _checked_items({key: value})
        key = key.lower()
        old = self._pairs
        at = next((i for i, pair in enumerate(old) if pair[0] == key), len(old))
        self._pairs = [*old[:at], *new, *(pair for pair in old[at:] if pair[0] != key)]

    def __delitem__(self, key: str) -> None:
        """Remove every value of `key`. Raises KeyError when there is none."""
        wanted = key.lower()
        kept = [pair for pair in self._pairs if pair[0] != wanted]
        if len(kept) == len(self._pairs):
            raise KeyError(key)
        self._pairs = kept

    def __contains__(self, key: object) -> bool:
        wanted = key.lower() if isinstance(key, str) else key
        return any(name == wanted for name, _ in self._pairs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._pairs)

    def keys(self) -> list[str]:
        """Each key once, in order of first appearance."""
        return list(dict.fromkeys(name for name, _ in self._pairs))

    def values(self) -> list[str | bytes]:
        """The value of every pair, in order."""
        return [value for _, value in self._pairs]

    def items(self) -> list[tuple[str, str | bytes]]:
        """Every pair, in order."""
        return self._pairs.copy()

    def copy(self) -> Metadata:
        """An independent copy."""
        twin = Metadata._from_wire(self._pairs.copy())
        twin._received = self._received
        return twin

    def _by_key(self) -> dict[str, list[str | bytes]]:
        grouped: dict[str, list[str | bytes]] = {}
        for key, value in self._pairs:
            grouped.setdefault(key, []).append(value)
        return grouped

    def __eq__(self, other: object) -> bool:
        """Whether each key has the same values in the same order; keys may stand in any order."""
        if not isinstance(other, Metadata):
            return NotImplemented
        return self._pairs == other._pairs or self._by_key() == other._by_key()

    def __repr__(self) -> str:
        shown = ", ".join(f"({key!r}, {_cut(value)})" for key, value in self._pairs)
        return f"Metadata([{shown}])"


# Not simply Iterable: mypy infers the type of a dict display only when one branch can be meant.
MetadataLike: TypeAlias = (
    Metadata
    | Mapping[str, str | bytes | Sequence[str | bytes]]
    | Sequence[tuple[str, str | bytes]]
    | Iterator[tuple[str, str | bytes]]
    | Set[tuple[str, str | bytes]]
    | None
)
"""What a caller may pass as metadata: several values of a key are a list or a tuple, and pairs may
come from any iterable (the type names the common ones; wrap others in `iter()`)."""


def pairs(metadata: MetadataLike) -> list[tuple[str, str | bytes]]:
    """The pairs of whatever a caller may pass as metadata, checked, as a new list ready to send.

    Raises ValueError for a key or value that cannot be sent, TypeError for another kind of object.
    """
    if metadata is None:
        return []
    if isinstance(metadata, Metadata):
        return _sendable(metadata)
    # Plain types first: every call pays for this, and a test against an ABC costs 0.5 µs.
    if isinstance(metadata, dict):
        return _checked_items(metadata)
    if not isinstance(metadata, (list, tuple)) and isinstance(metadata, Mapping):
        return _checked_items(metadata)
    return _checked_pairs(metadata)


def _sendable(metadata: Metadata) -> list[tuple[str, str | bytes]]:
    if not metadata._received:
        return metadata._pairs.copy()
    return [
        (key, _checked_value(key, value))
        for key, value in metadata._pairs
        if _is_free(key) and _checked_key(key)
    ]


def _checked_items(given: Mapping[Any, Any]) -> list[tuple[str, str | bytes]]:
    checked: list[tuple[str, str | bytes]] = []
    for key, value in given.items():
        key = _checked_key(key)
        if isinstance(value, (list, tuple)):
            checked += [(key, _checked_value(key, one)) for one in value]
        else:
            checked.append((key, _checked_value(key, value)))
    return checked


def _checked_pairs(given: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str | bytes]]:
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise TypeError(
            f"metadata is {_cut(given)} ({type(given).__name__}): pass a mapping, pairs or a"
            " Metadata"
        )
    checked: list[tuple[str, str | bytes]] = []
    for pair in given:
        # A text of two characters would unpack as well.
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"metadata holds {_cut(pair)}: a (key, value) pair is expected there")
        key = _checked_key(pair[0])
        checked.append((key, _checked_value(key, pair[1])))
    return checked


def check_keys(name: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The keys that an option names, in lower case. Raises as Metadata does for one that cannot be
    sent, TypeError for what is no list of keys."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise TypeError(f"{name}={_cut(keys)}: pass a list of metadata keys, such as ['x-trace']")
    return tuple(_checked_key(key) for key in keys)


def _is_free(key: str) -> bool:
    return not (key.startswith(("grpc-", ":")) or key in _RESERVED)


# Programs use few distinct keys; the bound is there for those that make keys up as they go.
@lru_cache(maxsize=1024)
def _checked_key(key: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"metadata key {_cut(key)} is {type(key).__name__}: keys are str")
    name = key.lower()
    if not _is_free(name):
        raise ValueError(
            f"metadata key {_cut(key)} is reserved for the protocol: use another key, such as"
            f" {'x-' + name.lstrip(':')!r}"
        )
    # The key itself is tested too: the lower case of KELVIN SIGN is the ASCII letter k.
    if not (name and key.isascii() and _KEY_CHARACTERS.issuperset(name)):
        raise ValueError(
            f"metadata key {_cut(key)} has characters that cannot be sent: use only 0-9 a-z _ . -"
        )
    return name


def _checked_value(key: str, value: object) -> str | bytes:
    if key.endswith("-bin"):
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        raise _wrong_kind(key, value, "a key that ends in -bin takes bytes; encode the value")
    if not isinstance(value, str):
        raise _wrong_kind(
            key, value, f"this key takes str; for bytes name the key {key + '-bin'!r}"
        )
    if not (value.isascii() and value.isprintable()):
        raise ValueError(
            f"metadata {key!r} has the value {_cut(value)}: text values are printable ASCII;"
            f" for other text send it encoded under {key + '-bin'!r}"
        )
    if value[:1] == " " or value[-1:] == " ":
        return value.strip(" ")
    return value


def _wrong_kind(key: str, value: object, remedy: str) -> ValueError | TypeError:
    kind = ValueError if isinstance(value, (str, bytes, bytearray, memoryview)) else TypeError
    return kind(f"metadata {key!r} has the value {_cut(value)} ({type(value).__name__}): {remedy}")


def _cut(value: object) -> str:
    if isinstance(value, (str, bytes)) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}... ({len(value)} long)"
    text = repr(value)
    return text if len(text) <= 4 * _SHOWN else text[: 4 * _SHOWN] + "..."
