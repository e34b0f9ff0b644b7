"""Header fields and their codings: metadata of any key and value, base64 of -bin values, the
percent coding of grpc-message."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from functools import cache

import gyrfalcon as gyr
from fuzz.choices import Choices
from fuzz.frames import DATA, END_STREAM, Frame, head, message
from fuzz.stage import Stage
from fuzz.targets.server import GIVEN, Place
from gyrfalcon._core.coding import decode_binary, decode_text, encode_binary, encode_text
from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon.wire.grpc import OWN_FIELDS

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/f.S/U"),
    (b":authority", b"f"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]
SENDABLE = re.compile(rb"[ -$&-~]*|(?:[ -$&-~]|%[0-9A-F]{2})*")
# RFC 9113 8.2.1 and RFC 9110 5.6.2: what a request's field may be, that is no field of HTTP's own.
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
CONNECTION_FIELDS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te",
     b"host", b"content-length", b"priority", b"expect")
)  # fmt: skip

Pairs = list[tuple[bytes, bytes]]


def check_text(data: bytes) -> None:
    """grpc-message: what is encoded can be sent and comes back; decoding never fails."""
    decoded = decode_text(data)
    assert isinstance(decoded, str)
    text = data.decode("utf-8", "surrogateescape")
    encoded = encode_text(text)
    assert SENDABLE.fullmatch(encoded), encoded
    assert decode_text(encoded) == text.encode("utf-8", "replace").decode()
    for limit in (3, 10, 50):
        cut = encode_text(text, limit)
        assert len(cut) <= limit, (cut, limit)
        assert SENDABLE.fullmatch(cut), cut
        if len(encoded) > limit:
            assert decode_text(cut).endswith("...")
            assert decode_text(encoded).startswith(decode_text(cut)[:-3])


def plain_base64(text: bytes) -> list[bytes] | None:
    """The values of a -bin field as the standard library reads them; None: it is no base64."""
    found = []
    for part in text.split(b","):
        stripped = part.strip().rstrip(b"=")
        if not re.fullmatch(rb"[A-Za-z0-9+/]*", stripped) or len(stripped) % 4 == 1:
            return None
        try:
            found.append(base64.b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True))
        except binascii.Error:
            return None
    return found


def check_binary(data: bytes) -> None:
    assert decode_binary(encode_binary(data)) == [data]
    try:
        found = decode_binary(data)
    except ValueError:
        found = None
    assert found == plain_base64(data), data


def check_metadata(pairs: Pairs) -> None:
    """What a program puts in comes out again, or is refused with a clear error."""
    for name, value in pairs:
        key = name.decode("latin-1")
        for given in (value, value.decode("latin-1")):
            try:
                kept = gyr.Metadata([(key, given)])
            except (ValueError, TypeError):
                continue
            ((found, one),) = kept.items()
            assert found == key.lower()
            assert found.endswith("-bin") == isinstance(one, bytes)
            assert one == (given if isinstance(given, bytes) else given.strip(" "))


def sendable(pairs: Pairs) -> bool:
    """Whether a request with these fields is a well-formed one, whatever it means."""
    return all(
        NAME.fullmatch(name)
        and name not in CONNECTION_FIELDS
        and not any((byte < 32 and byte != 9) or byte == 127 for byte in value)
        for name, value in pairs
    )


def check_core(pairs: Pairs) -> None:
    """From one connection of ours to the other the fields come as they were."""
    client, server = Connection(server=False), Connection(server=True)
    try:
        fields = Fields([*REQUEST, *pairs])
    except ValueError:
        return
    stream, after = client.open(fields), client.open(Fields(REQUEST))
    for _ in range(3):
        server.receive(client.take_output())
        client.receive(server.take_output())
    assert server.failure is None
    found = {one.id: one for one in server.take_ready()}
    assert after.id in found, "one bad request took another with it"
    if sendable(pairs):
        head = found[stream.id].head
        assert head is not None
        assert head.pairs() == [*REQUEST, *pairs]


def expected_metadata(pairs: Pairs) -> list[tuple[str, str | bytes]] | None:
    """What the handler is to see; None: the call fails before."""
    found: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        key = name.decode()
        if name.endswith(b"-bin"):
            parts = plain_base64(value)
            if parts is None:
                # Fails the call under any key; only the application's are shown.
                return None
            if name not in OWN_FIELDS:
                found += [(key, part) for part in parts]
        elif name not in OWN_FIELDS:
            found.append((key, value.decode("ascii", "backslashreplace")))
    return found


@cache
def place() -> Place:
    return Place(Stage(), max_metadata_bytes=1 << 20)


def check_served(pairs: Pairs) -> None:
    """A handler sees the metadata of its call."""
    if any(name in OWN_FIELDS for name, _ in pairs) or not sendable(pairs):
        return
    where = place()
    where.service.seen.clear()
    request = head(1, [*REQUEST, *pairs]) + bytes(Frame(DATA, END_STREAM, 1, message(b"")))
    where.stage.run(where.converse([GIVEN, request], 0))
    wanted = expected_metadata(pairs)
    assert where.service.seen == ([] if wanted is None else [wanted])


def check(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.byte() % 4
    if kind == 0:
        check_text(choices.rest())
    elif kind == 1:
        check_binary(choices.rest())
    else:
        pairs: Pairs = []
        while choices and len(pairs) < 20:
            name = choices.block()
            pairs.append((name + b"-bin" if choices.flag() else name, choices.block()))
        check_metadata(pairs)
        pairs = [(name, value) for name, value in pairs if name]
        if kind == 2:
            check_core(pairs)
        else:
            check_served(pairs)


def seeds() -> Iterable[bytes]:
    for text in ("plain", "50 %", "é and ☃ \0\r\n", "%41%zz%", "x" * 60, "☃" * 30, " "):
        yield b"\0" + text.encode()
    yield b"\0\xff\xfe%E2%98"
    for coded in (b"", b"AAEC", b"AAE=", b"AAE", b"AA E", b"AA,AAE=,", b"A", b"====", b"-_"):
        yield b"\1" + coded
    fields = [
        (b"key", 0, b"value"),
        (b"key", 0, b""),
        (b"trace", 1, b"AAEC,AA"),
        (b"bad", 1, b"!"),
        (b"Upper", 0, b"x"),
        (b"grpc-timeout", 0, b"5S"),
        (b"te", 0, b"gzip"),
        (b"latin", 0, b"caf\xe9"),
        (b"nul", 0, b"a\0b"),
        (b":path", 0, b"/other"),
    ]
    for kind in (2, 3):
        all_of_them = [
            bytes([len(name)]) + name + bytes([binary, len(value)]) + value
            for name, binary, value in fields
        ]
        yield bytes([kind]) + b"".join(all_of_them)
        yield from (bytes([kind]) + one for one in all_of_them)
