"""Frames for streams that are over (RFC 9113 5.1, 5.1.1): which are mistakes, and whose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gyrfalcon._core.connection import Connection

from .wires import (
    END_HEADERS,
    END_STREAM,
    OK,
    REQUEST,
    RESPONSE,
    FrameType,
    frame,
    frames,
    head,
    join,
    listening,
    message,
    only,
    pump,
)

PROTOCOL_ERROR, CANCEL, STREAM_CLOSED = 1, 8, 5
REMEMBERED = 64


def answered(*ids: int) -> Connection:
    """A server that has answered these streams, which their peer had ended."""
    server = listening()
    for stream_id in ids:
        server.receive(head(stream_id, end=True))
        (stream,) = (one for one in server.take_ready() if one.id == stream_id)
        stream.send_head(RESPONSE, OK, end=True)
        server.take_output()
    assert server.open_streams == 0
    return server


def reset_by_peer() -> Connection:
    server = listening()
    server.receive(head(1))
    server.receive(frame(FrameType.RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))
    server.take_output()
    return server


def codes(output: bytes, kind: FrameType) -> list[int]:
    """The error codes of RST_STREAM or GOAWAY frames."""
    at = 4 if kind is FrameType.GOAWAY else 0
    return [
        int.from_bytes(payload[at : at + 4], "big")
        for found, _, _, payload in frames(output)
        if found is kind
    ]


def is_fine(server: Connection, stream_id: int) -> bool:
    """Whether the connection still takes on a stream."""
    server.receive(head(stream_id, end=True))
    return not server.closing and [one.id for one in server.take_ready()][-1:] == [stream_id]


def test_a_head_for_a_closed_stream_ends_the_connection() -> None:
    server = answered(1, 3)
    server.receive(head(1, end=True))
    output = server.take_output()
    assert (codes(output, FrameType.GOAWAY), server.closing) == ([STREAM_CLOSED], True)
    assert server.failure == "HEADERS for stream 1, which is closed"


def test_a_head_after_the_peers_reset_is_one_streams_mistake() -> None:
    server = reset_by_peer()
    server.receive(head(1, end=True))
    output = server.take_output()
    assert (codes(output, FrameType.RST_STREAM), is_fine(server, 3)) == ([STREAM_CLOSED], True)


def test_a_head_after_a_reset_that_came_late_is_one_too() -> None:
    server = listening()
    server.receive(head(1))
    only(server.take_ready()).send_head(RESPONSE, OK, end=True)
    server.take_output()
    server.receive(frame(FrameType.RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))
    server.receive(head(1, end=True))
    output = server.take_output()
    assert (codes(output, FrameType.RST_STREAM), is_fine(server, 3)) == ([STREAM_CLOSED], True)


@pytest.mark.parametrize("closed", [lambda: answered(1), reset_by_peer], ids=["ended", "reset"])
def test_data_for_a_closed_stream_is_one_streams_mistake(closed: Callable[[], Connection]) -> None:
    server = closed()
    server.receive(frame(FrameType.DATA, 0, 1, b"late"))
    output = server.take_output()
    assert (codes(output, FrameType.RST_STREAM), is_fine(server, 3)) == ([STREAM_CLOSED], True)


def test_who_was_told_is_not_told_again() -> None:
    server = answered(1)
    server.receive(frame(FrameType.DATA, 0, 1, b"late") * 1000)
    assert codes(server.take_output(), FrameType.RST_STREAM) == [STREAM_CLOSED]
    assert is_fine(server, 3)


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.HEADERS])
def test_what_was_on_its_way_to_a_stream_that_we_reset_is_no_mistake(kind: FrameType) -> None:
    server = listening()
    server.receive(head(1))
    only(server.take_ready()).cancel(CANCEL)
    assert codes(server.take_output(), FrameType.RST_STREAM) == [CANCEL]
    late = head(1, [(b"trailer", b"x")], end=True)
    for _ in range(3):
        server.receive(late if kind is FrameType.HEADERS else frame(kind, 0, 1, b"late"))
    assert (server.take_output(), is_fine(server, 3)) == (b"", True)


def test_what_was_on_its_way_to_a_stream_that_was_answered_early_is_no_mistake() -> None:
    server = listening()
    server.receive(head(1))
    only(server.take_ready()).send_head(RESPONSE, OK, end=True)
    server.take_output()
    server.receive(frame(FrameType.DATA, 0, 1, message(b"late")))
    server.receive(frame(FrameType.DATA, END_STREAM, 1, b""))
    assert (server.take_output(), is_fine(server, 3)) == (b"", True)


@pytest.mark.parametrize("kind", [FrameType.RST_STREAM, FrameType.WINDOW_UPDATE])
def test_frames_that_cross_an_answer_are_no_mistake(kind: FrameType) -> None:
    server = answered(1)
    server.receive(frame(kind, 0, 1, CANCEL.to_bytes(4, "big")) * 2)
    assert (server.take_output(), is_fine(server, 3)) == (b"", True)


def test_an_older_stream_gets_the_benefit_of_the_doubt() -> None:
    last = 2 * REMEMBERED + 1
    server = answered(*range(1, last + 1, 2))
    server.receive(head(1, end=True) + frame(FrameType.DATA, 0, 1, b"late"))
    assert (server.take_output(), is_fine(server, last + 2)) == (b"", True)
    server.receive(head(last, end=True))
    assert codes(server.take_output(), FrameType.GOAWAY) == [STREAM_CLOSED]


@pytest.mark.parametrize(("first", "late"), [(5, 3), (5, 1), (3, 1), (1001, 7)])
@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.HEADERS])
def test_an_id_that_was_passed_by_ends_the_connection(
    first: int, late: int, kind: FrameType
) -> None:
    server = answered(first)
    server.receive(head(late) if kind is FrameType.HEADERS else frame(kind, 0, late, b"late"))
    assert codes(server.take_output(), FrameType.GOAWAY) == [PROTOCOL_ERROR]
    assert server.failure == f"stream {late} comes after stream {first}"


def test_ids_may_be_left_out() -> None:
    server = answered(*range(7, 1000, 4))
    assert is_fine(server, 2001)


def test_a_refused_stream_was_used() -> None:
    server = listening(max_concurrent_streams=1)
    server.receive(head(1) + head(3))
    server.take_output()
    server.receive(frame(FrameType.DATA, END_STREAM, 3, b"on its way"))
    assert (server.take_output(), server.closing) == (b"", False)


def test_a_client_lets_latecomers_go_by() -> None:
    client, server = join()
    call = client.open(REQUEST)
    call.finish()
    pump(client, server)
    only(server.take_ready()).send_head(RESPONSE, OK, end=True)
    pump(client, server)
    client.receive(frame(FrameType.DATA, 0, 1, b"late"))
    assert (client.take_output(), client.closing) == (b"", False)


def in_two(stream_id: int) -> bytes:
    """A request's head that ends its stream, in HEADERS and CONTINUATION."""
    ((_, _, _, block),) = frames(head(stream_id, end=True))
    return frame(FrameType.HEADERS, END_STREAM, stream_id, block[:5]) + frame(
        FrameType.CONTINUATION, END_HEADERS, stream_id, block[5:]
    )


@pytest.mark.parametrize(
    "conversation",
    [
        head(1, end=True) + frame(FrameType.DATA, 0, 1, b"late"),
        head(1, end=True) + head(1, end=True),
        in_two(1) + frame(FrameType.DATA, 0, 1, b"late"),
        in_two(1) + in_two(1),
        head(1) + frame(FrameType.DATA, END_STREAM, 1, b"") + frame(FrameType.DATA, 0, 1, b"late"),
        head(1)
        + frame(FrameType.RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big"))
        + frame(FrameType.DATA, 0, 1, b"late"),
    ],
    ids=[
        "DATA after HEADERS",
        "HEADERS after HEADERS",
        "DATA after CONTINUATION",
        "HEADERS after CONTINUATION",
        "DATA after DATA",
        "DATA after RST_STREAM",
    ],
)
def test_where_reads_cut_a_mistake_makes_no_difference(conversation: bytes) -> None:
    found = set()
    for cut in range(1, len(conversation)):
        server = listening()
        server.receive(conversation[:cut])
        server.receive(conversation[cut:])
        resets = codes(server.take_output(), FrameType.RST_STREAM)
        found.add((tuple(resets), server.failure, is_fine(server, 3)))
    assert found == {((STREAM_CLOSED,), None, True)}
