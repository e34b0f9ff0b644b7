"""Texts of grpc-timeout both ways, and the deadlines of a connection's streams."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from fuzz.choices import Choices
from gyrfalcon._core.coding import format_timeout, parse_timeout
from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import Stream

UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TEXT = re.compile(rb"([0-9]{1,8})([HMSmun])")
LONGEST = 99999999 * 3600.0
DEADLINE = 64
REQUEST = Fields([
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/f.S/U"), (b":authority", b"f"),
])  # fmt: skip


def check_parse(text: bytes) -> None:
    found = TEXT.fullmatch(text)
    try:
        seconds = parse_timeout(text)
    except ValueError:
        assert found is None, text
        return
    assert found is not None, text
    wanted = int(found[1]) * UNITS[found[2]]
    assert abs(seconds - wanted) <= 1e-12 * wanted
    check_format(seconds)


def check_format(seconds: float) -> None:
    """It is never less than what was asked for, and not much more."""
    text = format_timeout(seconds)
    assert TEXT.fullmatch(text), text
    back = parse_timeout(text)
    if seconds != seconds or seconds <= 0:
        assert back == 0
    elif seconds > LONGEST:
        assert back == LONGEST
    else:
        # In its unit it is rounded up to the next whole number, in binary.
        assert back >= seconds * (1 - 1e-9), (seconds, text)
        assert back <= seconds + max(UNITS[text[-1:]], seconds * 1e-9), (seconds, text)


class Deadlines:
    """A connection's deadlines beside a dictionary of the same."""

    def __init__(self) -> None:
        self.connection = Connection(server=False)
        self.streams: list[Stream] = []
        self.armed: dict[int, float] = {}
        self.now = 0.0

    def step(self, choices: Choices) -> None:
        kind = choices.below(8)
        if kind < 2 or not self.streams:
            if len(self.streams) < 60:
                self.streams.append(self.connection.open(REQUEST))
            return
        stream = self.streams[choices.below(len(self.streams))]
        if kind < 6:
            deadline = self.now + choices.byte() / 8
            self.connection.set_deadline(stream, deadline)
            if not stream.closed:
                self.armed[stream.id] = deadline
        elif kind == 6:
            stream.cancel()
            self.connection.take_output()
            if stream.closed:
                self.armed.pop(stream.id, None)
        else:
            self.expire(self.now + choices.byte() / 16)
        wanted = min(self.armed.values(), default=None)
        assert self.connection.next_timeout() == wanted

    def expire(self, now: float) -> None:
        self.now = now
        self.connection.on_timeout(now)
        due = {number for number, deadline in self.armed.items() if deadline <= now}
        for number in due:
            del self.armed[number]
        told = {one.id for one in self.connection.take_ready() if one.take_events() & DEADLINE}
        assert told == due, f"{told} expired at {now}, not {due}"

    def end(self) -> None:
        self.connection.close()
        assert self.connection.next_timeout() is None


def check(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.byte() % 3
    if kind == 0:
        check_parse(choices.rest())
    elif kind == 1:
        check_format(struct.unpack("<d", choices.take(8).ljust(8, b"\0"))[0])
    else:
        deadlines = Deadlines()
        for _ in range(200):
            if not choices:
                break
            deadlines.step(choices)
        deadlines.end()


def seeds() -> Iterable[bytes]:
    for text in (
        b"1S",
        b"99999999H",
        b"100000000n",
        b"5",
        b"",
        b"m",
        b"-1S",
        b"1 S",
        b"007u",
        b"1s",
    ):
        yield b"\0" + text
    for seconds in (0.0, 1e-9, 1e-3, 0.1, 99.9999, 1e5, 1e8, 3.6e11, 1e300, -1.0, float("nan")):
        yield b"\1" + struct.pack("<d", seconds)
    yield b"\2" + bytes([0] * 9) + bytes([2, 1, 80, 2, 3, 40, 2, 5, 40, 6, 3, 7, 0, 255, 2, 5, 1])
    yield b"\2" + bytes(number * 37 % 256 for number in range(150))
