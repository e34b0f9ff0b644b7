"""A stream is reset once: a second RST_STREAM for a request that never went out would end the
connection, as one for an idle stream does (RFC 9113 5.1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import Stream

from .wires import (
    OK,
    REQUEST,
    RESPONSE,
    Event,
    FrameType,
    frame,
    frames,
    head,
    join,
    listening,
    only,
    pump,
)

GOAWAY = frame(FrameType.GOAWAY, 0, 0, bytes(8))


def cancel_again(client: Connection, stream: Stream) -> None:
    stream.cancel()


def learn_that_it_is_not_wanted(client: Connection, stream: Stream) -> None:
    client.receive(GOAWAY)


@pytest.mark.parametrize("more", [cancel_again, learn_that_it_is_not_wanted])
def test_a_request_cancelled_before_it_was_sent_leaves_the_connection_alone(
    more: Callable[[Connection, Stream], None],
) -> None:
    client, _ = join()
    stream = client.open(REQUEST)
    stream.cancel()
    more(client, stream)
    sent = frames(client.take_output())
    assert [one[0] for one in sent if one[0] == FrameType.RST_STREAM] == []
    (taken,) = client.take_ready()
    assert Event.UNSENT in Event(taken.take_events())
    assert stream.closed


def test_other_calls_go_on_after_it() -> None:
    client, server = join()
    stream, other = client.open(REQUEST), client.open(REQUEST)
    stream.cancel()
    stream.cancel()
    other.finish()
    pump(client, server)
    answer = only(server.take_ready())
    answer.send_head(RESPONSE, OK, end=True)
    pump(client, server)
    assert (client.failure, server.failure) == (None, None)
    assert other.closed
    assert other.reset_code == 0


def test_a_server_resets_a_stream_once_however_often_it_is_told() -> None:
    server = listening()
    server.receive(head(1))
    stream = only(server.take_ready())
    stream.cancel(2)
    stream.cancel(8)
    sent = frames(server.take_output())
    resets = [one for one in sent if one[0] == FrameType.RST_STREAM]
    assert resets == [(FrameType.RST_STREAM, 0, 1, b"\0\0\0\2")]
