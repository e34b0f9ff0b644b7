"""Messages in DATA frames of any size: whole ones come out, limits hold at the prefix."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .stories import plain
from .wires import (
    REQUEST,
    Event,
    FrameType,
    frame,
    head,
    join,
    listening,
    message,
    messages,
    only,
    pump,
)

SIZES = st.one_of(st.integers(0, 40), st.sampled_from([255, 16379, 16384, 16385, 40000]))
MESSAGES = st.lists(st.tuples(SIZES, st.booleans()), max_size=12)
KIB = 1024


def body_of(size: int) -> bytes:
    return bytes(at % 251 for at in range(size))


@given(MESSAGES, st.lists(st.integers(0, 16384), min_size=1, max_size=8).filter(any))
def test_messages_come_whole_whatever_frames_they_came_in(
    sent: list[tuple[int, bool]], sizes: list[int]
) -> None:
    server = listening()
    server.receive(head(1))
    stream = only(server.take_ready())
    body = b"".join(message(body_of(size), flag=flag) for size, flag in sent)
    turn = 0
    while body:
        size = sizes[turn % len(sizes)]
        # A hundred frames a second: nobody counts that as a flood.
        server.receive(frame(FrameType.DATA, 0, 1, body[:size]), turn / 100)
        body, turn = body[size:], turn + 1
    assert [plain(one) for one in messages(stream)] == [
        (body_of(size), flag) for size, flag in sent
    ]
    assert (server.unread_bytes, stream.fault) == (0, None)


@given(MESSAGES, st.integers(1, 70000), st.integers(1, 1 << 20))
def test_messages_cross_between_any_windows_and_output_limits(
    sent: list[tuple[int, bool]], limit: int, window: int
) -> None:
    client, server = join(stream_window=max(window, 500))
    stream = client.open(REQUEST)
    pump(client, server)
    received = only(server.take_ready())
    for size, flag in sent:
        stream.send_message(body_of(size), compressed=flag)
    stream.finish()
    taken: list[tuple[bytes, bool]] = []
    while not received.remote_ended or Event.MESSAGE in Event(received.take_events()):
        pump(client, server, limit)
        taken += [plain(one) for one in messages(received)]
    assert taken == [(body_of(size), flag) for size, flag in sent]


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_the_limit_is_checked_at_the_prefix(limit: int, size: int) -> None:
    server = listening(max_receive_bytes=limit)
    server.receive(head(1) + frame(FrameType.DATA, 0, 1, message(bytes(size))[:5]))
    stream = only(server.take_ready())
    over = f"message of {size} bytes is over max_receive_bytes={limit}"
    assert stream.fault == ((8, over) if size > limit else None)


def test_a_streams_own_limit_counts_for_that_stream_alone() -> None:
    server = listening()
    server.receive(head(1) + head(3))
    small, usual = sorted(server.take_ready(), key=lambda stream: stream.id)
    small.max_receive_bytes = 3
    for stream in (small, usual):
        server.receive(frame(FrameType.DATA, 0, stream.id, message(b"four")))
    assert small.fault == (8, "message of 4 bytes is over max_receive_bytes=3")
    assert (usual.fault, messages(usual)) == (None, [b"four"])


@pytest.mark.parametrize("flag", [2, 3, 128, 255])
def test_an_unknown_flag_is_a_fault_that_names_it(flag: int) -> None:
    server = listening()
    server.receive(head(1) + frame(FrameType.DATA, 0, 1, message(b"x", flag=flag)))
    stream = only(server.take_ready())
    text = f"message with the unknown compressed flag {flag}; it is 0 or 1"
    assert stream.fault == (13, text)
    assert stream.take_message() is None


@pytest.mark.parametrize("received", [0, KIB, 100 * KIB, 900 * KIB])
def test_memory_grows_with_the_bytes_that_came_not_with_those_claimed(received: int) -> None:
    server = listening(max_receive_bytes=1 << 31)
    prefix = b"\0" + (1 << 30).to_bytes(4, "big")
    tracemalloc.start()
    try:
        server.receive(head(1) + frame(FrameType.DATA, 0, 1, prefix))
        piece = frame(FrameType.DATA, 0, 1, bytes(KIB))
        for _ in range(received // KIB):
            server.receive(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (stream,) = server.streams()
    assert stream.fault is None
    assert received <= held <= 4 * received + 128 * KIB


def test_a_fault_lets_go_of_the_part_that_was_held() -> None:
    server = listening()
    part = frame(FrameType.DATA, 0, 1, bytes(KIB))
    tracemalloc.start()
    try:
        server.receive(head(1) + frame(FrameType.DATA, 0, 1, b"\0" + (1 << 20).to_bytes(4, "big")))
        for _ in range(500):
            server.receive(part)
        stream = only(server.take_ready())
        stream.discard()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 64 * KIB
