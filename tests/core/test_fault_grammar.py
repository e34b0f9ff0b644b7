"""Messages before a fault are delivered, and a fault is the only end: whole or byte by byte."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection

from .wires import END_STREAM, Event, FrameType, frame, head, listening, message, messages

GOOD = [b"first", b"", b"second"]
BAD = {
    "over the limit": message(b"x" * 33),
    "unknown flag": message(b"x", flag=2),
    "cut prefix": b"\0\0",
    "cut message": message(b"12345678")[:-1],
    "a claim of 4 GiB": b"\0\xff\xff\xff\xff",
}


def tell(server: Connection, data: bytes, step: int) -> list[object]:
    """What the stream told, in order, when `data` came in pieces of `step` bytes."""
    told: list[object] = []
    for start in range(0, len(data), step):
        server.receive(data[start : start + step])
        for stream in server.take_ready():
            events = Event(stream.take_events())
            told += ["head"] if Event.HEAD in events else []
            told += messages(stream)
            told += [stream.fault] if Event.FAULT in events else []
            told += ["end"] if Event.END in events else []
            told += [stream.reset_code] if Event.CLOSED in events else []
    return told


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize("bad", BAD)
def test_what_came_before_a_fault_is_told_and_nothing_ends_twice(bad: str, step: int) -> None:
    server = listening(max_receive_bytes=32)
    body = b"".join(map(message, GOOD)) + BAD[bad]
    told = tell(server, head(1) + frame(FrameType.DATA, END_STREAM, 1, body), step)
    assert told[:-1] == ["head", *GOOD]
    (stream,) = server.streams()
    assert told[-1] == stream.fault
    assert stream.fault is not None
    assert stream.fault[0] == (8 if bad in ("over the limit", "a claim of 4 GiB") else 13)
