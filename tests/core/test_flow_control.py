"""Windows of the stream and of the connection, what waits to be sent, and who is told of it."""

from __future__ import annotations

import pytest

from .wires import (
    REQUEST,
    RESPONSE,
    Event,
    FrameType,
    frames,
    join,
    messages,
    only,
    pump,
)

WINDOW = 65535
CHUNK = bytes(60_000)


def test_the_connections_window_closes_over_max_unread_bytes_and_opens_again() -> None:
    limit, connection_window = 100_000, 200_000
    client, server = join(
        stream_window=WINDOW, connection_window=connection_window, max_unread_bytes=limit
    )
    streams = [client.open(REQUEST) for _ in range(20)]
    for stream in streams:
        stream.send_message(CHUNK)
    pump(client, server)
    stuck = sum(stream.out_bytes > 0 for stream in streams)
    assert stuck > 0
    assert limit <= server.unread_bytes < limit + connection_window + len(CHUNK)
    taken = 0
    while waiting := [one for stream in server.streams() for one in messages(stream)]:
        taken += len(waiting)
        pump(client, server)
    assert (taken, [stream.out_bytes for stream in streams]) == (20, [0] * 20)
    assert server.unread_bytes == 0


@pytest.mark.parametrize("way", ["cancel", "discard", "the peer's reset"])
def test_giving_up_unread_messages_opens_the_connections_window_too(way: str) -> None:
    client, server = join(stream_window=WINDOW, connection_window=100_000, max_unread_bytes=50_000)
    streams = [client.open(REQUEST) for _ in range(6)]
    for stream in streams:
        stream.send_message(CHUNK)
    pump(client, server)
    turns = 0
    while any(stream.out_bytes for stream in streams):
        turns += 1
        assert turns < 10, "the window stays shut"
        for received in server.streams():
            if received.events & Event.MESSAGE:
                received.take_events()
                if way == "cancel":
                    received.cancel()
                elif way == "discard":
                    received.discard()
        if way == "the peer's reset":
            next(stream for stream in streams if not stream.closed).cancel()
        pump(client, server)
    assert server.failure is None


def test_a_stalled_stream_does_not_stop_another() -> None:
    client, server = join(stream_window=WINDOW, connection_window=80_000)
    stalled, going = client.open(REQUEST), client.open(REQUEST)
    pump(client, server)
    (received,) = [stream for stream in server.take_ready() if stream.id == going.id]
    for _ in range(10):
        stalled.send_message(CHUNK)
    pump(client, server)
    for at in range(50):
        going.send_message(CHUNK[at:])
        pump(client, server)
        assert messages(received) == [CHUNK[at:]]
    assert stalled.out_bytes == 10 * (len(CHUNK) + 5) - WINDOW


def test_the_streams_window_returns_only_when_messages_are_taken() -> None:
    client, server = join(stream_window=WINDOW)
    stream = client.open(REQUEST)
    for _ in range(4):
        stream.send_message(CHUNK)
    pump(client, server)
    received = only(server.take_ready())
    held = []
    while stream.out_bytes:
        held.append(server.unread_bytes)
        assert received.take_message() == CHUNK
        pump(client, server)
    assert held == [len(CHUNK) + 5] * len(held)
    assert len(held) == 3


@pytest.mark.parametrize("low_mark", [0, 1, 16384, 100_000])
def test_writable_is_told_once_when_what_waits_falls_to_the_mark(low_mark: int) -> None:
    client, server = join(stream_window=WINDOW)
    stream = client.open(REQUEST)
    pump(client, server)
    received = only(server.take_ready())
    for _ in range(5):
        stream.send_message(CHUNK)
    stream.notify_writable(low_mark)
    told = []
    while stream.out_bytes or messages(received):
        pump(client, server)
        while received.take_message():
            pass
        if client.take_ready():
            assert stream.take_events() == Event.WRITABLE
            told.append(stream.out_bytes <= low_mark)
    assert told == [True]


@pytest.mark.parametrize("limit", [1, 100, 16384, 50_000])
def test_output_comes_in_pieces_of_about_the_limit_and_loses_nothing(limit: int) -> None:
    body = bytes(range(256)) * 1000
    client, server = join(max_frame_size=16384)
    client.open(REQUEST).send_message(body)
    largest = 0
    while sent := client.take_output(limit):
        largest = max(largest, len(sent))
        server.receive(sent)
    assert limit <= largest < limit + 16384 + 9
    assert messages(only(server.take_ready())) == [body]


def test_a_stream_that_waits_for_a_window_leaves_the_output_to_the_others() -> None:
    client, server = join(client={"stream_window": 10})
    slow, quick = client.open(REQUEST), client.open(REQUEST)
    pump(client, server)
    for answer in server.take_ready():
        answer.send_head(RESPONSE)
        answer.send_message(b"x" * (100 if answer.id == slow.id else 5))
    sent = {(stream_id, payload) for kind, _, stream_id, payload in frames(server.take_output())
            if kind is FrameType.DATA}  # fmt: skip
    assert (quick.id, b"\0\0\0\0\5xxxxx") in sent
    assert (slow.id, b"\0\0\0\0\x64xxxxx") in sent
