"""A frame that libnghttp2 has made already, waiting for room in the output, outlives its stream."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import Stream

from .wires import END_STREAM, OK, REQUEST, RESPONSE, Event, FrameType, frames, join, only, pump

BODY = bytes(range(256)) * 2000
MADE = 2 * 65536  # the frame that was sent, and the one that waits


def sender(side: str) -> tuple[Connection, Connection, Stream]:
    client, server = join()
    stream = client.open(REQUEST)
    pump(client, server)
    if side == "server":
        stream = only(server.take_ready())
        stream.send_head(RESPONSE)
        client, server = server, client
        pump(client, server)
    return client, server, stream


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize(
    "size", [len(BODY), 16384], ids=["one large message", "many that are copied"]
)
def test_cancelling_while_a_data_frame_waits_sends_that_frame_and_the_reset(
    side: str, size: int
) -> None:
    ours, theirs, stream = sender(side)
    for start in range(0, len(BODY), size):
        stream.send_message(BODY[start : start + size])
    sent = ours.take_output(1)
    stream.cancel()
    sent += ours.take_output()
    data = b"".join(payload for kind, _, _, payload in frames(sent) if kind is FrameType.DATA)
    expected = b"".join(
        b"\0" + size_of.to_bytes(4, "big") + BODY[start : start + size_of]
        for start in range(0, len(BODY), size)
        if (size_of := min(size, len(BODY) - start))
    )
    assert data == expected[:MADE]
    assert frames(sent)[-1][0] == FrameType.RST_STREAM
    theirs.receive(sent)
    assert only(theirs.take_ready()).reset_code == 8
    assert ours.open_streams == 0


def test_a_lost_connection_while_a_data_frame_waits_closes_the_stream_once() -> None:
    ours, _, stream = sender("client")
    stream.send_message(BODY)
    ours.take_output(1)
    ours.close()
    assert only(ours.take_ready()).take_events() == Event.CLOSED
    assert ours.take_output() == b""


def test_the_peers_reset_while_a_data_frame_waits_drops_the_frame() -> None:
    ours, theirs, stream = sender("client")
    stream.send_message(BODY)
    theirs.receive(ours.take_output(1))
    only(theirs.take_ready()).cancel()
    ours.receive(theirs.take_output())
    assert [one[0] for one in frames(ours.take_output()) if one[0] is FrameType.DATA] == []
    assert stream.reset_code == 8


def test_ending_while_a_data_frame_waits_sends_all_of_it_and_then_the_trailers() -> None:
    ours, theirs, stream = sender("server")
    stream.send_message(BODY)
    theirs.receive(ours.take_output(1))
    stream.finish(OK)
    last = frames(ours.take_output())
    kinds = [kind for kind, flags, *_ in last if flags & END_STREAM]
    assert kinds == [FrameType.HEADERS]
