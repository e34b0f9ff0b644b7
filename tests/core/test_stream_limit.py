"""Streams over MAX_CONCURRENT_STREAMS are refused, each for itself (RFC 9113 5.1.2)."""

from __future__ import annotations

import struct

import pytest
from h2.events import RemoteSettingsChanged
from h2.settings import SettingCodes

from gyrfalcon._core.connection import Connection

from .strangers import Stranger
from .wires import (
    ACK,
    END_STREAM,
    OK,
    PREFACE,
    RESPONSE,
    FrameType,
    frame,
    frames,
    head,
    listening,
    message,
    messages,
    only,
)

REFUSED_STREAM = 7
ENHANCE_YOUR_CALM = 11
LIMIT = 3
BURST = 20_000


def reset(stream_id: int, code: int = 8) -> bytes:
    return frame(FrameType.RST_STREAM, 0, stream_id, struct.pack(">I", code))


def refusals(output: bytes) -> list[int]:
    """The streams that are refused in this output, which holds no reset of another kind."""
    resets = [
        (stream_id, int.from_bytes(payload, "big"))
        for kind, _, stream_id, payload in frames(output)
        if kind is FrameType.RST_STREAM
    ]
    assert {code for _, code in resets} <= {REFUSED_STREAM}
    return [stream_id for stream_id, _ in resets]


def goaway_code(output: bytes) -> int | None:
    for kind, _, _, payload in frames(output):
        if kind is FrameType.GOAWAY:
            return int.from_bytes(payload[4:8], "big")
    return None


def full(limit: int = LIMIT) -> tuple[Connection, int]:
    """A server with as many streams as it allows, and the next stream's number."""
    server = listening(max_concurrent_streams=limit)
    server.receive(b"".join(head(2 * n + 1) for n in range(limit)))
    assert (server.open_streams, server.take_output()) == (limit, b"")
    return server, 2 * limit + 1


def test_the_limit_is_announced_to_the_peer() -> None:
    server = Connection(server=True, max_concurrent_streams=0x01020304)
    stranger = Stranger(server)
    stranger.pump()
    assert stranger.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 0x01020304
    (changed,) = stranger.all(RemoteSettingsChanged)
    assert set(changed.changed_settings) == {
        SettingCodes.MAX_CONCURRENT_STREAMS,
        SettingCodes.INITIAL_WINDOW_SIZE,
        SettingCodes.MAX_HEADER_LIST_SIZE,
        SettingCodes.MAX_FRAME_SIZE,
    }


def test_it_is_announced_when_the_peer_spoke_first() -> None:
    server = Connection(server=True, max_concurrent_streams=LIMIT)
    server.receive(PREFACE + frame(FrameType.SETTINGS, 0, 0) + head(1, end=True))
    (kind, flags, _, payload), *_ = frames(server.take_output())
    assert (kind, flags & ACK, payload[:6]) == (FrameType.SETTINGS, 0, b"\0\3\0\0\0\3")


@pytest.mark.parametrize("acknowledged", [True, False], ids=["after ACK", "before ACK"])
@pytest.mark.parametrize("end", [True, False], ids=["whole", "head"])
def test_a_stream_too_many_is_refused_and_the_others_go_on(acknowledged: bool, end: bool) -> None:
    server = Connection(server=True, max_concurrent_streams=LIMIT)
    acks = frame(FrameType.SETTINGS, ACK, 0) if acknowledged else b""
    server.receive(PREFACE + frame(FrameType.SETTINGS, 0, 0) + acks)
    server.receive(head(1) + head(3) + head(5))
    server.take_output()
    server.receive(head(7, end=end) + head(9, end=end))
    output = server.take_output()
    assert (refusals(output), goaway_code(output)) == ([7, 9], None)
    assert [stream.id for stream in server.take_ready()] == [1, 3, 5]
    assert (server.open_streams, server.refused_streams, server.closing) == (LIMIT, 2, False)
    server.receive(frame(FrameType.DATA, END_STREAM, 5, message(b"request")))
    stream = only(server.take_ready())
    assert messages(stream) == [b"request"]
    stream.send_head(RESPONSE)
    stream.finish(OK)
    server.take_output()
    server.receive(head(11))
    assert [stream.id for stream in server.take_ready()] == [5, 11]
    assert server.take_output() == b""


def test_the_head_of_a_refused_stream_keeps_the_compression_context() -> None:
    """Both sides change the table that later heads refer to, though nobody sees this head."""
    server = Connection(server=True, max_concurrent_streams=1)
    stranger = Stranger(server)
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b"), (":authority", "x")]
    stranger.h2.send_headers(1, pairs)
    stranger.h2.send_headers(3, [*pairs, ("key", "in the table")])
    stranger.pump()
    stranger.h2.end_stream(1)
    stranger.pump()
    server.take_ready()[0].cancel()
    stranger.pump()
    stranger.h2.send_headers(5, [*pairs, ("key", "in the table")])
    stranger.pump()
    (stream,) = [one for one in server.take_ready() if one.id == 5]
    assert stream.head is not None
    assert stream.head.get(b"key") == b"in the table"


def test_what_is_sent_on_a_refused_stream_gives_the_connection_its_window_back() -> None:
    server, stream_id = full()
    data = frame(FrameType.DATA, 0, stream_id, bytes(16_000))
    credit = 0
    server.receive(head(stream_id))
    for _ in range(3 * 16 * 2**20 // 16_000):
        server.receive(data)
        for kind, _, number, payload in frames(server.take_output()):
            if kind is FrameType.WINDOW_UPDATE:
                assert number == 0
                credit += int.from_bytes(payload, "big")
    assert credit >= 2 * 16 * 2**20
    assert server.failure is None


def test_a_place_is_free_again_when_a_stream_has_closed() -> None:
    server, stream_id = full()
    server.receive(reset(1) + head(stream_id))
    assert (server.open_streams, server.refused_streams) == (LIMIT, 0)


def test_a_peer_that_goes_on_and_reads_nothing_is_hung_up_on_and_holds_little() -> None:
    server, stream_id = full()
    flood = b"".join(
        head(number, end=True) + reset(number) for number in range(stream_id, stream_id + 20_000, 2)
    )
    server.receive(flood)
    # Each refusal waits to be sent, although its stream was reset by the peer meanwhile.
    assert server.refused_streams == 4097
    assert server.closing
    assert server.failure is not None
    assert "max_concurrent_streams=3" in server.failure
    server.receive(head(stream_id + 20_000))
    output = server.take_output()
    assert goaway_code(output) == ENHANCE_YOUR_CALM
    assert len(refusals(output)) <= 4096


def refuse(server: Connection, stream_id: int, count: int, now: float = 0.0) -> int:
    """Have so many streams refused, as a peer that reads would; the next stream's number."""
    end = stream_id + 2 * count
    for first in range(stream_id, end, 2000):
        streams = range(first, min(first + 2000, end), 2)
        server.receive(b"".join(head(n, end=True) for n in streams), now)
        server.take_output()
    return end


def test_refusals_faster_than_resets_may_come_end_the_connection() -> None:
    server, stream_id = full()
    stream_id = refuse(server, stream_id, BURST - 1)
    assert (server.refused_streams, server.failure) == (BURST - 1, None)
    refuse(server, stream_id, 1)
    assert server.closing
    assert (server.limit, server.limits["refused_stream_rate"]) == ("refused_stream_rate", 1)


def test_slow_refusals_are_no_abuse() -> None:
    server, stream_id = full()
    for tenth in range(40):
        stream_id = refuse(server, stream_id, 1000, 1000.0 + tenth / 10)
    assert (server.refused_streams, server.closing) == (40_000, False)
