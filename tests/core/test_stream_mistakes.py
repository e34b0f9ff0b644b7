"""A mistake on one stream ends that stream, and the others go on (RFC 9113 5.4.2)."""

from __future__ import annotations

import struct

import pytest

from gyrfalcon._core.connection import Connection

from .wires import (
    END_STREAM,
    OK,
    REQUEST,
    REQUEST_PAIRS,
    RESPONSE,
    FrameType,
    frame,
    frames,
    head,
    join,
    listening,
    message,
    messages,
    only,
)

END_HEADERS = 4
PADDED = 8
BAD = 3
CLOSED = 5


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(FrameType.WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))


def data(stream_id: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(FrameType.DATA, flags, stream_id, payload)


def priority(stream_id: int, payload: bytes) -> bytes:
    return frame(FrameType.PRIORITY, 0, stream_id, payload)


OPEN = head(BAD)
ENDED = head(BAD, end=True)
MISTAKES = {
    # name: (what opens the stream, the mistake, the code that RFC 9113 gives it)
    "WINDOW_UPDATE of nothing (6.9)": (OPEN, window_update(BAD, 0), 1),
    "WINDOW_UPDATE of nothing after the end": (ENDED, window_update(BAD, 0), 1),
    "window over 2^31-1 (6.9.1)": (OPEN, window_update(BAD, 2**31 - 1), 3),
    "DATA after the end (5.1)": (ENDED, data(BAD, b"x"), 5),
    "empty DATA after the end": (ENDED, data(BAD), 5),
    "END_STREAM twice": (ENDED, data(BAD, b"", END_STREAM), 5),
    "DATA after DATA that ended": (OPEN + data(BAD, b"", END_STREAM), data(BAD, b"x"), 5),
    "HEADERS after the end (5.1)": (ENDED, head(BAD), 5),
    "HEADERS in parts after the end": (
        ENDED,
        frame(FrameType.HEADERS, 0, BAD, b"\x83")
        + frame(FrameType.CONTINUATION, END_HEADERS, BAD, b"\x86"),
        5,
    ),
    "DATA over max_frame_size (4.2)": (OPEN, data(BAD, bytes(65_537)), 6),
    "padded DATA over max_frame_size": (OPEN, data(BAD, b"\1" + bytes(70_000), PADDED), 6),
    "DATA over max_frame_size that ends": (OPEN, data(BAD, bytes(200_000), END_STREAM), 6),
    "PRIORITY of four bytes (6.3)": (OPEN, priority(BAD, bytes(4)), 6),
    "PRIORITY of twenty bytes": (OPEN, priority(BAD, bytes(20)), 6),
    "PRIORITY on itself": (OPEN, priority(BAD, struct.pack(">IB", BAD, 1)), 1),
    "trailers without END_STREAM (8.1)": (OPEN, head(BAD, [(b"key", b"value")]), 1),
    "a name in upper case (8.2)": (b"", head(BAD, [*REQUEST_PAIRS, (b"Upper", b"x")]), 1),
    "no :path (8.3.1)": (b"", head(BAD, [one for one in REQUEST_PAIRS if one[0] != b":path"]), 1),
    "an unknown pseudo-header": (b"", head(BAD, [(b":other", b"x"), *REQUEST_PAIRS]), 1),
    "connection-specific field (8.2.2)": (
        b"",
        head(BAD, [*REQUEST_PAIRS, (b"connection", b"close")]),
        1,
    ),
    "more than content-length (8.1.1)": (
        head(BAD, [*REQUEST_PAIRS, (b"content-length", b"1")]),
        data(BAD, b"xx"),
        1,
    ),
}
by_mistake = pytest.mark.parametrize("name", MISTAKES)


def resets(output: bytes) -> list[tuple[int, int]]:
    return [
        (stream_id, int.from_bytes(payload, "big"))
        for kind, _, stream_id, payload in frames(output)
        if kind is FrameType.RST_STREAM
    ]


def check_another_call(server: Connection, stream_id: int) -> None:
    """A call that was opened before goes on."""
    server.receive(data(stream_id, message(b"still there"), END_STREAM))
    stream = next(one for one in server.streams() if one.id == stream_id)
    assert messages(stream) == [b"still there"]
    stream.send_head(RESPONSE)
    stream.finish(OK)
    ends = [flags & END_STREAM for _, flags, number, _ in frames(server.take_output()) if number]
    assert ends[-1] == END_STREAM
    assert (server.failure, server.closing) == (None, False)


@by_mistake
@pytest.mark.parametrize("step", [1, 7, 10, 65_536, 10**6])
def test_it_ends_the_stream_with_its_code_and_no_other(name: str, step: int) -> None:
    opening, mistake, code = MISTAKES[name]
    server = listening()
    sent = head(1) + opening + mistake
    output = b""
    for start in range(0, len(sent), step):
        server.receive(sent[start : start + step])
        output += server.take_output()
    assert resets(output) == [(BAD, code)]
    assert [one.id for one in server.streams()] == [1]
    check_another_call(server, 1)


@by_mistake
def test_it_does_so_between_two_good_requests_in_one_read(name: str) -> None:
    opening, mistake, code = MISTAKES[name]
    server = listening()
    server.receive(head(1) + opening + mistake + head(CLOSED))
    assert resets(server.take_output()) == [(BAD, code)]
    check_another_call(server, 1)
    check_another_call(server, CLOSED)


@pytest.mark.parametrize(("size", "streams"), [(16_000, 800), (70_000, 200), (2_000_000, 8)])
def test_the_connections_window_is_given_back(size: int, streams: int) -> None:
    """What came on streams that were in the wrong does not shrink the window of the others."""
    server = listening(connection_window=4 * 2**20)
    window = server.receive_window
    for number in range(1, 2 * streams, 2):
        server.receive(head(number, end=size < 65_536) + data(number, bytes(size)))
        server.take_output()
    # More than the window came; libnghttp2 tells the peer when half of it is to be given back.
    assert size * streams > 2 * window
    assert server.failure is None
    assert server.receive_window >= window // 2


def test_streams_that_are_over_hear_no_more() -> None:
    """Frames that cross with a reset are dropped (RFC 9113 5.1, closed)."""
    server = listening()
    server.receive(head(1) + head(BAD))
    late = next(one for one in server.streams() if one.id == BAD)
    late.cancel()
    server.take_output()
    server.receive(
        window_update(BAD, 0)
        + window_update(BAD, 5)
        + data(BAD, b"x", END_STREAM)
        + priority(BAD, bytes(4))
        + priority(BAD, bytes(5))
    )
    assert resets(server.take_output()) == []
    check_another_call(server, 1)


CONNECTION_ERRORS = {
    "DATA on an idle stream": (data(BAD, b"x"), 1),
    "large DATA on an idle stream": (data(BAD, bytes(70_000)), 1),
    "WINDOW_UPDATE on an idle stream": (window_update(BAD, 1), 1),
    "WINDOW_UPDATE of nothing on an idle stream": (window_update(BAD, 0), 1),
    "WINDOW_UPDATE of nothing on the connection": (window_update(0, 0), 1),
    "the connection's window over 2^31-1": (window_update(0, 2**31 - 1), 3),
    "RST_STREAM on an idle stream": (frame(FrameType.RST_STREAM, 0, BAD, bytes(4)), 1),
    "HEADERS on a server's stream": (head(2), 1),
    "HEADERS on stream 0": (head(0), 1),
    "DATA on stream 0": (data(0, b"x"), 1),
    "PRIORITY on stream 0": (priority(0, bytes(5)), 1),
    "SETTINGS on a stream": (frame(FrameType.SETTINGS, 0, 1), 1),
    "PING on a stream": (frame(FrameType.PING, 0, 1, bytes(8)), 1),
    "CONTINUATION of nothing": (frame(FrameType.CONTINUATION, END_HEADERS, 1), 1),
    "another frame inside a header block": (
        frame(FrameType.HEADERS, 0, BAD, b"\x83") + frame(FrameType.PING, 0, 0, bytes(8)),
        1,
    ),
    "PUSH_PROMISE of a client": (frame(FrameType.PUSH_PROMISE, 4, 1, bytes(4)), 1),
    "padding longer than the frame": (data(1, b"\x09x", PADDED), 1),
    "HEADERS over max_frame_size": (
        frame(FrameType.HEADERS, END_HEADERS, BAD, bytes(70_000)),
        6,
    ),
    "WINDOW_UPDATE of three bytes": (frame(FrameType.WINDOW_UPDATE, 0, 1, bytes(3)), 6),
}


@pytest.mark.parametrize("step", [1, 10**6])
@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_what_is_no_streams_own_mistake_ends_the_connection(name: str, step: int) -> None:
    mistake, code = CONNECTION_ERRORS[name]
    server = listening()
    output = b""
    sent = head(1) + mistake
    for start in range(0, len(sent), step):
        server.receive(sent[start : start + step])
        output += server.take_output()
    kind, _, _, payload = frames(output)[-1]
    assert (kind, int.from_bytes(payload[4:8], "big")) == (FrameType.GOAWAY, code)
    assert server.closing is True


def test_a_server_that_goes_on_after_its_end_is_no_connection_error() -> None:
    client, _ = join()
    first, second = client.open(REQUEST), client.open(REQUEST)
    client.take_output()
    client.receive(
        frame(FrameType.HEADERS, END_HEADERS, 1, b"\x88")
        + window_update(1, 0)
        + frame(FrameType.HEADERS, END_HEADERS, 3, b"\x88")
    )
    assert resets(client.take_output()) == [(1, 1)]
    assert (first.reset_code, second.closed, client.failure) == (1, False, None)


def test_a_stranger_to_priorities_is_not_told_of_streams_that_never_come() -> None:
    """The signal is deprecated (RFC 9113 5.3.2), and harmless beside every request."""
    server = listening()
    for number in range(1, 20_001, 2):
        server.receive(priority(number, struct.pack(">IB", 0, 15)) + head(number, end=True))
        stream = only(server.take_ready())
        stream.send_head(RESPONSE, OK, end=True)
        server.take_output()
        server.take_ready()
    assert server.failure is None
