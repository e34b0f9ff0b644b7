"""Header lists over the limit cost their stream its fields, and the next one nothing."""

from __future__ import annotations

import pytest
from hpack import Encoder

from gyrfalcon._core.connection import Connection

from .wires import (
    END_HEADERS,
    END_STREAM,
    REQUEST,
    REQUEST_PAIRS,
    RESPONSE_PAIRS,
    Event,
    FrameType,
    frame,
    frames,
    listening,
    only,
)

LIMIT = 1000
SHARED = [(b"x-kept", b"in the table"), (b"x-also", b"there")]


def block(
    encoder: Encoder, stream_id: int, pairs: list[tuple[bytes, bytes]], *, end: bool = False
) -> bytes:
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(FrameType.HEADERS, flags, stream_id, encoder.encode(pairs))


@pytest.mark.parametrize("size", [2 * LIMIT, 7 * LIMIT], ids=["a bit over", "far over"])
def test_the_table_is_right_after_an_oversized_head(size: int) -> None:
    server, encoder = listening(max_header_bytes=LIMIT), Encoder()
    big = [(b"x-big-%d" % at, b"v" * 100) for at in range(size // 140)]
    for stream_id, pairs in ((1, SHARED), (3, [*big, *SHARED]), (5, SHARED)):
        server.receive(block(encoder, stream_id, [*REQUEST_PAIRS, *pairs]))
    heads = {stream.id: stream for stream in server.take_ready()}
    assert [heads[at].oversized_head for at in (1, 3, 5)] == [False, True, False]
    assert heads[5].head is not None
    assert heads[5].head.pairs() == [*REQUEST_PAIRS, *SHARED]
    assert (server.failure, server.open_streams) == (None, 3)


def test_a_head_over_every_measure_ends_its_stream_alone() -> None:
    server, encoder = listening(max_header_bytes=LIMIT), Encoder()
    server.receive(block(encoder, 1, [*REQUEST_PAIRS, *SHARED]))
    bomb = [(b"x-bomb", b"b" * 1000)] * 100  # one indexed field a hundred times
    server.receive(block(encoder, 3, [*REQUEST_PAIRS, *bomb]))
    server.receive(block(encoder, 5, [*REQUEST_PAIRS, *SHARED]))
    sent = frames(server.take_output())
    assert [(kind, at) for kind, _, at, _ in sent] == [(FrameType.RST_STREAM, 3)]
    alive = {stream.id: stream for stream in server.streams()}
    assert sorted(alive) == [1, 5]
    assert alive[5].head is not None
    assert alive[5].head.pairs() == [*REQUEST_PAIRS, *SHARED]
    assert server.failure is None


def test_a_head_of_exactly_the_limit_is_not_oversized() -> None:
    size = sum(len(name) + len(value) + 32 for name, value in REQUEST_PAIRS)
    for limit, oversized in ((size, False), (size - 1, True)):
        server = listening(max_header_bytes=limit)
        server.receive(block(Encoder(), 1, REQUEST_PAIRS))
        stream = only(server.take_ready())
        assert stream.head is not None
        assert (stream.oversized_head, stream.head.size) == (oversized, size)


def test_oversized_trailers_are_marked_and_the_next_stream_is_right() -> None:
    client, encoder = Connection(server=False, max_header_bytes=LIMIT), Encoder()
    streams = [client.open(REQUEST) for _ in range(2)]
    client.take_output()
    big = [(b"x-big-%d" % at, b"v" * 100) for at in range(20)]
    client.receive(
        frame(FrameType.SETTINGS, 0, 0)
        + block(encoder, 1, [*RESPONSE_PAIRS, *SHARED])
        + block(encoder, 1, [(b"grpc-status", b"0"), *big], end=True)
        + block(encoder, 3, [*RESPONSE_PAIRS, *SHARED])
    )
    first, second = streams
    assert (first.oversized_head, second.oversized_head) == (True, False)
    assert Event.END in Event(first.events)
    assert second.head is not None
    assert second.head.pairs() == [*RESPONSE_PAIRS, *SHARED]
    assert client.failure is None
