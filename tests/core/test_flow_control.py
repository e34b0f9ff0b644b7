"""Windows of the stream and of the connection, what waits to be sent, and who is told of it."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import CompressedMessage

from .wires import (
    END_STREAM,
    REQUEST,
    RESPONSE,
    Event,
    FrameType,
    frame,
    frames,
    head,
    join,
    listening,
    message,
    messages,
    only,
    pump,
)

MIB = 2**20
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


def open_with_parts(server: Connection, count: int, part: int, length: int) -> None:
    """Streams 1, 3, ..., each with so much of a message of that length."""
    prefix = b"\0" + length.to_bytes(4, "big")
    for stream_id in range(1, 2 * count, 2):
        server.receive(head(stream_id))
        left = prefix + bytes(part)
        while left:
            server.receive(frame(FrameType.DATA, 0, stream_id, left[:16_384]))
            left = left[16_384:]
        server.take_output()


def test_a_thousand_unfinished_messages_hold_no_more_than_max_unread_bytes() -> None:
    limit, part = 8 * MIB, MIB // 2
    server = listening(max_unread_bytes=limit, max_receive_bytes=4 * MIB)
    # 500 MiB in all, of 4,000 MiB that the prefixes claim.
    open_with_parts(server, 1000, part, 4 * MIB)
    # One message more, which may always go on.
    assert limit < server.unfinished_bytes <= limit + part
    failed = [stream for stream in server.take_ready() if Event.FAULT in Event(stream.events)]
    assert len(failed) == 1000 - limit // part - 1
    code, text = failed[0].fault or (0, "")
    assert (code, "max_unread_bytes=8388608" in text) == (8, True)
    # The oldest were kept.
    assert min(stream.id for stream in failed) == 2 * 17 + 1
    assert server.failure is None


def test_the_oldest_unfinished_messages_are_finished_and_make_room() -> None:
    server = listening(max_unread_bytes=100_000)
    open_with_parts(server, 3, 40_000, 50_000)
    first, second, third = sorted(server.streams(), key=lambda stream: stream.id)
    assert (first.fault, second.fault, third.fault and third.fault[0]) == (None, None, 8)
    for stream in (first, second):
        server.receive(frame(FrameType.DATA, 0, stream.id, bytes(10_000)))
        assert messages(stream) == [bytes(50_000)]
    assert (server.unfinished_bytes, server.unread_bytes) == (0, 0)
    # What comes of the message that was given up is dropped, and counts for nothing.
    server.receive(frame(FrameType.DATA, 0, third.id, bytes(10_000)))
    server.receive(head(7) + frame(FrameType.DATA, 0, 7, message(bytes(16_000))[:-1]))
    assert server.unfinished_bytes == 15_999
    assert messages(third) == []


def test_one_message_may_be_longer_than_max_unread_bytes() -> None:
    client, server = join(max_unread_bytes=65_535, stream_window=WINDOW)
    sender, neighbour = client.open(REQUEST), client.open(REQUEST)
    sender.send_message(bytes(MIB))
    client.take_ready()
    most = 0
    while sender.out_bytes:
        # The others go on beside it, as long as their messages come in one piece.
        neighbour.send_message(b"small")
        server.receive(client.take_output(4096))
        most = max(most, server.unfinished_bytes)
        client.receive(server.take_output())
    pump(client, server)
    longest, other = sorted(server.streams(), key=lambda stream: stream.id)
    assert messages(longest) == [bytes(MIB)]
    assert set(messages(other)) == {b"small"}
    assert most > 65_535


def test_long_messages_that_come_together_wait_for_their_turn_and_all_arrive() -> None:
    limit, count = 4 * MIB, 40
    client, server = join(max_unread_bytes=limit, stream_window=WINDOW)
    sent = {client.open(REQUEST): bytes([at]) * (MIB + at) for at in range(count)}
    for stream, data in sent.items():
        stream.send_message(data)
    arrived: dict[int, bytes | CompressedMessage] = {}
    most = 0
    while data := client.take_output(100_000):
        server.receive(data)
        most = max(most, server.unfinished_bytes)
        for received in server.streams():
            arrived.update((received.id, one) for one in messages(received))
        client.receive(server.take_output())
    assert arrived == {stream.id: data for stream, data in sent.items()}
    assert limit // 2 < most <= limit + MIB + count
    assert server.unfinished_bytes == 0


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_message_that_had_a_turn_and_is_given_up_leaves_it_to_others(who: str) -> None:
    client, server = join(max_unread_bytes=MIB, stream_window=WINDOW)
    streams = [client.open(REQUEST) for _ in range(12)]
    for stream in streams:
        stream.send_message(bytes(MIB // 2))
    given_up = set()
    while data := client.take_output(50_000):
        server.receive(data)
        # Half of them, each when it has come farther than its window.
        for stream in streams[::2]:
            if stream.id not in given_up and stream.out_bytes < MIB // 2 - WINDOW:
                given_up.add(stream.id)
                (there,) = (one for one in server.streams() if one.id == stream.id)
                (stream if who == "client" else there).cancel()
        client.receive(server.take_output())
    assert given_up == {stream.id for stream in streams[::2]}
    whole = [stream.id for stream in server.streams() if messages(stream) == [bytes(MIB // 2)]]
    assert sorted(whole) == [stream.id for stream in streams[1::2]]
    assert server.unfinished_bytes == 0


def credited(server: Connection) -> set[int]:
    """The streams that the server's next output opens the window of."""
    output = frames(server.take_output())
    return {number for kind, _, number, _ in output if kind is FrameType.WINDOW_UPDATE} - {0}


def test_a_message_that_does_not_end_holds_back_none_that_fit_into_their_windows() -> None:
    server = listening(max_unread_bytes=150_000, stream_window=WINDOW)
    server.receive(head(1) + head(3) + head(5))
    for stream_id in (1, 3):
        server.receive(frame(FrameType.DATA, 0, stream_id, message(bytes(100_000))[:16_000]))
        for _ in range(3):
            server.receive(frame(FrameType.DATA, 0, stream_id, bytes(16_000)))
    # The first goes on past its window, the other waits until the first has ended.
    assert credited(server) == {1}
    short = message(bytes(30_000))
    (stream,) = (one for one in server.streams() if one.id == 5)
    for _ in range(10):
        server.receive(frame(FrameType.DATA, 0, 5, short[:16_000]))
        server.receive(frame(FrameType.DATA, 0, 5, short[16_000:]))
        assert messages(stream) == [bytes(30_000)]
        assert credited(server) <= {5}
    server.receive(frame(FrameType.RST_STREAM, 0, 1, b"\0\0\0\x08"))
    assert credited(server) == {3}


@pytest.mark.parametrize("way", ["cancel", "discard", "the peer's reset", "close", "fault"])
def test_an_unfinished_message_that_is_given_up_is_held_no_more(way: str) -> None:
    server = listening()
    open_with_parts(server, 2, 40_000, 50_000)
    assert server.unfinished_bytes == 80_000
    second, first = server.streams()
    if way == "cancel":
        first.cancel()
    elif way == "discard":
        first.discard()
    elif way == "close":
        server.close()
    elif way == "fault":
        server.receive(frame(FrameType.DATA, END_STREAM, first.id))
        assert first.fault
    else:
        server.receive(frame(FrameType.RST_STREAM, 0, first.id, b"\0\0\0\x08"))
    assert server.unfinished_bytes == (0 if way == "close" else 40_000)
    assert second.fault is None


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
