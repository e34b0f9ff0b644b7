"""The extremes of honest use, which no limit may punish: what each sends on one connection.

The suite has a small number of each, `make abuse` the large one. Nothing waits for the clock: what
passes without a pause passes at any pace, because time gives tokens back (`tests/core/test_gate.py`
has the same at twenty a second and at a clock that stands still).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from tests.abuse.attacker import HEAD, Attacker, attacking
from tests.abuse.families import (
    END_HEADERS,
    PING,
    data,
    request_head,
    reset,
    settings_frame,
    whole_call,
    window_update,
)
from tests.abuse.target import Process
from tests.core.wires import END_STREAM, FrameType, frame, message

HAS_PRIORITY = 0x20
PACK = 50
"""Calls in flight, or messages."""
BYTE = message(b"\n\1x")
# No stream ever waits for its window; the connection's opens again when half of it is used.
WINDOWS = settings_frame((4, 2**31 - 1))
HALF_WINDOW = 32_767


@dataclass(frozen=True)
class Honest:
    """One way to use a connection much."""

    name: str
    one: Callable[[int], bytes]
    """What is sent for a call, on the stream of that id."""
    few: int
    """How often in the suite."""
    many: int
    """And in `make abuse`."""
    echoes: bool = False
    """Each is answered by an echo, and not by the status of its call."""
    then: Callable[[int], bytes] | None = None
    """What is sent after that answer."""
    one_call: bool = False
    """They are messages of one call."""
    pack: int = PACK


def moved(whole: bytes) -> Callable[[int], bytes]:
    """The same frames on other streams: encoded once."""
    pieces = []
    while whole:
        end = HEAD + int.from_bytes(whole[:3], "big")
        pieces.append((whole[:5], whole[HEAD:end]))
        whole = whole[end:]

    def on(stream_id: int) -> bytes:
        number = struct.pack(">I", stream_id)
        return b"".join(start + number + rest for start, rest in pieces)

    return on


def with_priority() -> bytes:
    """A PRIORITY frame before a HEADERS frame that has one in it too (RFC 9113 6.2, 6.3)."""
    block = request_head(1)[HEAD:]
    priority = struct.pack(">IB", 0, 15)
    return (
        frame(FrameType.PRIORITY, 0, 1, priority)
        + frame(FrameType.HEADERS, END_HEADERS | HAS_PRIORITY, 1, priority + block)
        + data(1, message(b""), END_STREAM)
    )


HONEST = (
    Honest("calls on one connection", moved(whole_call(1)), 2_000, 100_000),
    Honest(
        "a kilobyte of metadata with every call",
        moved(whole_call(1, (b"key", b"v" * 1024))),
        1_000,
        200_000,
    ),
    Honest("PRIORITY on every HEADERS", moved(with_priority()), 2_000, 50_000),
    Honest(
        "calls that are cancelled one after another",
        moved(request_head(1, "Bidi") + data(1, BYTE)),
        500,
        10_000,
        echoes=True,
        then=reset,
        pack=1,
    ),
    Honest("one-byte messages", moved(data(1, BYTE)), 25_000, 500_000, True, one_call=True),
    Honest(
        "a PING after every DATA frame, as of who measures its bandwidth",
        moved(data(1, BYTE)),
        1_000,
        5_000,
        echoes=True,
        then=lambda _: PING,
        one_call=True,
        pack=1,
    ),
)


def use(target: Process, honest: Honest, count: int) -> list[str]:
    """Use one connection so often; what was wrong with how it was served."""
    before = target.figures("reset")
    received = 0
    with attacking(target.port, settings=WINDOWS) as client:
        if honest.one_call:
            client.send(request_head(1, "Bidi"))
        for first in range(0, count, honest.pack):
            streams = [2 * n + 1 for n in range(first, min(first + honest.pack, count))]
            if honest.one_call:
                streams = [1] * len(streams)
            client.send(b"".join(map(honest.one, streams)))
            while not is_answered(client, honest, len(streams)):
                if not client.wait():
                    return [f"after {first}: {client.goaway}"]
            if any(status != b"0" for status in client.statuses.values()):
                return [f"after {first}: {client.statuses}"]
            received += client.received_data
            if received > HALF_WINDOW:
                client.send(window_update(0, received))
                received = 0
            if honest.then is not None:
                client.send(b"".join(map(honest.then, streams)))
            client.forget()
        if client.goaway is not None:
            return [f"at the end: {client.goaway}"]
    after = target.settled()
    return [] if after["limits"] == before["limits"] else [f"limits: {after['limits']}"]


def is_answered(client: Attacker, honest: Honest, count: int) -> bool:
    if honest.echoes:
        return client.received_data >= count * len(BYTE)
    return len(client.statuses) >= count
