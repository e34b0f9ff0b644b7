"""What a peer may do only so often, and what an honest one may do for ever."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon.rpc.limits import FRAME_RATES

from .wires import (
    ACK,
    END_STREAM,
    OK,
    REQUEST_PAIRS,
    RESPONSE,
    FrameType,
    frame,
    frames,
    head,
    listening,
    message,
    messages,
)

CANCEL = struct.pack(">I", 8)
RATES = {limit.name: limit for limit in FRAME_RATES}
PIECES: dict[str, bytes] = {
    "ping_rate": frame(FrameType.PING, 0, 0, bytes(8)),
    "settings_rate": frame(FrameType.SETTINGS, 0, 0),
    "priority_rate": frame(FrameType.PRIORITY, 0, 9, bytes(5)),
    "window_update_rate": frame(FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "empty_frame_rate": frame(FrameType.DATA, 0, 1),
    "small_frame_rate": frame(FrameType.DATA, 0, 1, b"\0\0\x40\0\0")
    + frame(FrameType.DATA, 0, 1, b"x") * 10,
}
# SETTINGS that came before: the peer's own, and its ACK.
BEFORE = {"settings_rate": 2}


HEAD = head(1)


def open_stream(stream_id: int) -> bytes:
    """The head of a request, encoded once for all."""
    return HEAD[:5] + struct.pack(">I", stream_id) + HEAD[9:]


def answer(server: Connection) -> bytes:
    """Answer all that came, as a server would, and return what goes out."""
    for stream in server.take_ready():
        if not stream.closed and stream.remote_ended and not stream.local_ended:
            messages(stream)
            stream.send_head(RESPONSE)
            stream.send_message(b"reply")
            stream.finish(OK)
    return server.take_output()


def goaway(output: bytes) -> tuple[int, bytes] | None:
    for kind, _, _, payload in frames(output):
        if kind is FrameType.GOAWAY:
            return int.from_bytes(payload[4:8], "big"), payload[8:]
    return None


@pytest.mark.parametrize(
    "name", ["ping_rate", "settings_rate", "priority_rate", "window_update_rate"]
)
def test_a_burst_passes_and_one_frame_more_does_not(name: str) -> None:
    server = listening()
    for _ in range(RATES[name].burst - BEFORE.get(name, 0)):
        server.receive(PIECES[name])
        server.take_output()
    assert server.failure is None
    server.receive(PIECES[name])
    assert goaway(server.take_output()) == (11, name.encode())
    assert (server.limit, server.limits, server.closing) == (name, {name: 1}, True)


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("step", [7, 10**6])
def test_a_flood_ends_the_connection_however_it_is_cut(name: str, step: int) -> None:
    server = listening(max_receive_bytes=2**23, stream_window=2**24)
    flood = PIECES[name]
    if name == "small_frame_rate":
        flood = (
            frame(FrameType.DATA, 0, 1, b"\0\0\x40\0\0")
            + frame(FrameType.DATA, 0, 1, b"x") * 25_000
        )
    else:
        flood *= 12_000
    server.receive(head(1))
    output = b""
    for start in range(0, len(flood), step):
        server.receive(flood[start : start + step])
        output += server.take_output()
        if server.closing:
            break
    assert goaway(output) == (11, name.encode())


@pytest.mark.parametrize(
    "name", ["ping_rate", "settings_rate", "priority_rate", "window_update_rate"]
)
def test_the_rate_passes_for_ever(name: str) -> None:
    server = listening()
    limit = RATES[name]
    for second in range(100):
        server.receive(PIECES[name] * limit.rate, float(second))
        server.take_output()
    assert server.failure is None
    # And over it, not for ever.
    seconds = 100
    while not server.closing:
        server.receive(PIECES[name] * limit.rate * 2, float(seconds))
        server.take_output()
        seconds += 1
    assert seconds <= 100 + limit.burst // limit.rate + 1


def steps(server: Connection, one: Callable[[int], bytes], count: int, every_s: float) -> None:
    """Have a peer do something for each of so many streams, at a steady pace."""
    for number in range(count):
        server.receive(one(2 * number + 1), number * every_s)
        output = answer(server)
        assert server.failure is None, f"after {number}: {goaway(output)}"


def test_calls_that_are_cancelled_one_after_another() -> None:
    def cancelled(stream_id: int) -> bytes:
        return open_stream(stream_id) + frame(FrameType.RST_STREAM, 0, stream_id, CANCEL)

    steps(listening(), cancelled, 10_000, 1 / 20)


def test_many_calls_cancelled_at_once_again_and_again() -> None:
    server = listening()
    for second in range(30):
        first = 2_000 * second + 1
        streams = range(first, first + 2_000, 2)
        server.receive(b"".join(open_stream(number) for number in streams), float(second))
        answer(server)
        server.receive(
            b"".join(frame(FrameType.RST_STREAM, 0, number, CANCEL) for number in streams),
            float(second),
        )
        answer(server)
    assert (server.failure, server.refused_streams) == (None, 0)


def test_a_hundred_thousand_calls_with_a_priority_each_in_no_time() -> None:
    def called(stream_id: int) -> bytes:
        return (
            frame(FrameType.PRIORITY, 0, stream_id, struct.pack(">IB", 0, 15))
            + open_stream(stream_id)
            + frame(FrameType.DATA, END_STREAM, stream_id, message(b"x"))
            + frame(FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\0\x0a")
        )

    server = listening()
    for number in range(100_000):
        server.receive(called(2 * number + 1))
        answer(server)
    assert (server.failure, server.streams_succeeded) == (None, 100_000)


def test_one_byte_messages_with_a_ping_between_each_in_no_time() -> None:
    server = listening()
    server.receive(head(1))
    (stream,) = server.take_ready()
    for _ in range(60_000):
        server.receive(
            frame(FrameType.DATA, 0, 1, message(b"x")) + frame(FrameType.PING, ACK, 0, bytes(8))
        )
        assert messages(stream) == [b"x"]
        server.take_output()
    assert server.failure is None


def test_a_reader_that_credits_each_small_message_by_itself() -> None:
    """Two WINDOW_UPDATEs for each DATA frame, as simple implementations send."""
    server = listening()
    server.receive(head(1, end=True))
    (stream,) = server.take_ready()
    stream.send_head(RESPONSE)
    for _ in range(30_000):
        stream.send_message(b"x")
        server.take_output()
        server.receive(
            frame(FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\0\6")
            + frame(FrameType.WINDOW_UPDATE, 0, 1, b"\0\0\0\6")
        )
    assert server.failure is None


def test_a_kilobyte_of_metadata_with_every_call() -> None:
    server = listening()
    whole = head(1, [*REQUEST_PAIRS, (b"key", b"v" * 1024)], end=True)
    for number in range(30_000):
        server.receive(whole[:5] + struct.pack(">I", 2 * number + 1) + whole[9:])
        server.receive(frame(FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\0\x0a"))
        answer(server)
    assert (server.failure, server.streams_succeeded) == (None, 30_000)
