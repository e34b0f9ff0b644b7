"""Codecs: how a message becomes bytes and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

_T = TypeVar("_T")


@runtime_checkable
class Codec(Protocol):
    """Turns messages into bytes and back. Immutable, hashable, and safe to share by threads."""

    @property
    def name(self) -> str:
        """The content-subtype: "proto" is sent as `application/grpc+proto`. Lower case."""
        ...

    def encoder(self, message_type: type[_T], /) -> Callable[[_T], bytes]:
        """A function that encodes one message; it may raise any Exception for a wrong object.

        Raises TypeError for a type whose messages the codec does not know.
        """
        ...

    def decoder(self, message_type: type[_T], /) -> Callable[[bytes], _T]:
        """A function that decodes one message; it may raise any Exception for wrong bytes.

        Raises TypeError for a type whose messages the codec does not know.
        """
        ...


def _check_protobuf(codec: Codec, message_type: Any) -> None:
    if not hasattr(message_type, "SerializeToString"):
        name = getattr(message_type, "__name__", repr(message_type))
        raise TypeError(
            f"{name} is no protobuf message class, and {codec!r} knows no others: give the method"
            " a codec for it, as in gyr.Method(..., codec=...)"
        )


class ProtobufCodec:
    """Protobuf's binary format, for message classes of google.protobuf."""

    __slots__ = ()

    name: str = "proto"

    # The methods of the message class themselves: a wrapper would cost a Python call a message, and
    # what it could add is only a test for a message of another type, which is encoded as itself.
    def encoder(self, message_type: type[_T], /) -> Callable[[_T], bytes]:
        _check_protobuf(self, message_type)
        encode: Callable[[_T], bytes] = message_type.SerializeToString  # type: ignore[attr-defined]
        return encode

    def decoder(self, message_type: type[_T], /) -> Callable[[bytes], _T]:
        _check_protobuf(self, message_type)
        decode: Callable[[bytes], _T] = message_type.FromString  # type: ignore[attr-defined]
        return decode

    def __repr__(self) -> str:
        return "PROTOBUF"


class JsonCodec:
    """Protobuf's JSON mapping in UTF-8, for message classes of google.protobuf.

    Fields that the receiver does not know are ignored, as in the binary format, so that either
    side can be upgraded first.
    """

    __slots__ = ()

    name: str = "json"

    def encoder(self, message_type: type[_T], /) -> Callable[[_T], bytes]:
        from google.protobuf.json_format import MessageToJson

        _check_protobuf(self, message_type)

        def encode(message: Any) -> bytes:
            return MessageToJson(message, indent=None, ensure_ascii=False).encode()

        return encode

    def decoder(self, message_type: type[_T], /) -> Callable[[bytes], _T]:
        from google.protobuf.json_format import Parse

        _check_protobuf(self, message_type)

        def decode(data: bytes) -> Any:
            return Parse(data, message_type(), ignore_unknown_fields=True)  # type: ignore[type-var]

        return decode

    def __repr__(self) -> str:
        return "JSON"


class RawCodec:
    """Bytes as they are, for programs that pass messages on or encode them on their own.

    `name` is the content-subtype under which the bytes are sent. Raises ValueError for one that
    cannot be.
    """

    __slots__ = ("name",)

    def __init__(self, name: str = "proto") -> None:
        self.name = name
        check_codec(self)

    def encoder(self, message_type: type[_T], /) -> Callable[[_T], bytes]:
        return _same

    def decoder(self, message_type: type[_T], /) -> Callable[[bytes], _T]:
        return _same

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, RawCodec) else NotImplemented

    def __hash__(self) -> int:
        return hash((RawCodec, self.name))

    def __repr__(self) -> str:
        return f"RawCodec({self.name!r})"


def _same(data: Any) -> Any:
    if not isinstance(data, bytes):
        raise TypeError(f"a raw message is {type(data).__name__}: pass bytes")
    return data


def check_codec(codec: Codec) -> None:
    """TypeError for what is no codec, ValueError for a name that cannot be a content-subtype."""
    name = getattr(codec, "name", None)
    if not isinstance(name, str) or not hasattr(codec, "encoder") or not hasattr(codec, "decoder"):
        raise TypeError(
            f"codec {codec!r} is {type(codec).__name__}: a codec has name, encoder and decoder"
        )
    if not (name.isascii() and name.replace("-", "").isalnum() and name == name.lower()):
        raise ValueError(f"codec name {name!r} cannot be a content-subtype: use only 0-9 a-z -")


PROTOBUF: Final = ProtobufCodec()
JSON: Final = JsonCodec()
RAW: Final = RawCodec()


class CodecRegistry:
    """Codecs by content-subtype. Fill it before serving; it is read without a lock."""

    __slots__ = ("_codecs",)

    def __init__(self, *codecs: Codec) -> None:
        self._codecs: dict[str, Codec] = {}
        for codec in codecs:
            self.register(codec)

    def register(self, codec: Codec) -> None:
        """Add a codec, in place of the one that had its name.

        Raises ValueError for a name that cannot stand in a content-type, TypeError for what is no
        codec.
        """
        check_codec(codec)
        self._codecs[codec.name] = codec

    def get(self, name: str) -> Codec | None:
        """The codec of a content-subtype, or None. The empty name is "proto" (`PROTOCOL-HTTP2`)."""
        return self._codecs.get(name.lower() or "proto")

    def choose(self, wanted: Codec | str | None) -> Codec | None:
        """The codec that a `codec=` option stands for; None stays None.

        Raises ValueError for a name that is not registered, TypeError for what is neither a name
        nor a codec.
        """
        if isinstance(wanted, str):
            found = self.get(wanted)
            if found is None:
                raise ValueError(
                    f"codec {wanted!r} is not known: use one of {', '.join(self._codecs)}, or"
                    " register it"
                )
            return found
        if wanted is not None:
            check_codec(wanted)
        return wanted

    def names(self) -> tuple[str, ...]:
        """The names, in order of registration."""
        return tuple(self._codecs)


CODECS: Final = CodecRegistry(PROTOBUF, JSON)
