"""Graceful stops in two steps, what a GOAWAY leaves unsent, and PING."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields

from .wires import (
    ACK,
    OK,
    PREFACE,
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

LAST = 2**31 - 1


def goaways(data: bytes) -> list[tuple[int, int, bytes]]:
    """The GOAWAY frames in it: (last stream, code, debug data)."""
    return [
        (int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big"), payload[8:])
        for kind, _, _, payload in frames(data)
        if kind is FrameType.GOAWAY
    ]


def test_a_drain_names_the_highest_id_then_waits_for_its_ping_then_the_real_one() -> None:
    server = listening()
    server.receive(head(1))
    server.drain()
    server.drain()
    first = server.take_output()
    ping = [payload for kind, _, _, payload in frames(first) if kind is FrameType.PING]
    assert goaways(first) == [(LAST, 0, b"")]
    assert ping == [server.drain_ping]
    server.receive(head(3))  # was on its way
    assert server.drain_ready is False
    server.receive(frame(FrameType.PING, ACK, 0, ping[0]))
    assert server.drain_ready is True
    server.finish_drain()
    assert goaways(server.take_output()) == [(3, 0, b"")]
    assert (server.drain_ready, server.draining, server.closing) == (False, True, False)


def test_streams_below_the_goaway_finish_and_then_the_connection_closes() -> None:
    client, server = join()
    stream = client.open(REQUEST)
    stream.finish()
    pump(client, server)
    answer = only(server.take_ready())
    server.drain()
    pump(client, server)
    server.finish_drain()
    pump(client, server)
    assert (client.goaway_received, client.can_open, stream.closed) == (True, False, False)
    assert server.closing is False
    answer.send_head(RESPONSE)
    answer.finish(OK)
    pump(client, server)
    assert (stream.reset_code, stream.remote_ended) == (0, True)
    assert (server.closing, client.closing) == (True, True)
    assert (server.failure, client.failure) == (None, None)


def test_a_stranger_to_the_ping_does_not_finish_the_drain() -> None:
    server = listening()
    server.ping(b"12345678")
    server.drain()
    server.take_output()
    server.receive(frame(FrameType.PING, ACK, 0, b"12345678"))
    assert (server.pings_acknowledged, server.drain_ready) == (1, False)


@pytest.mark.parametrize("last", [0, 1, 3])
def test_streams_above_the_goaway_were_refused_and_those_below_go_on(last: int) -> None:
    client = Connection(server=False)
    client.receive(frame(FrameType.SETTINGS, 0, 0))
    streams = [client.open(REQUEST) for _ in range(3)]
    client.take_output()
    payload = last.to_bytes(4, "big") + bytes(4)
    client.receive(frame(FrameType.GOAWAY, 0, 0, payload))
    assert [stream.id for stream in streams if not stream.closed] == [
        stream.id for stream in streams if stream.id <= last
    ]
    refused = [stream for stream in streams if stream.closed]
    assert [stream.reset_code for stream in refused] == [7] * len(refused)
    assert sorted(stream.id for stream in client.take_ready()) == [one.id for one in refused]


def test_a_request_that_still_waits_is_unsent_and_keeps_what_was_queued() -> None:
    client, server = join(max_concurrent_streams=1)
    running, waiting = client.open(REQUEST), client.open(REQUEST)
    waiting.send_message(b"queued")
    pump(client, server)
    client.receive(frame(FrameType.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)))
    assert only(client.take_ready()) is waiting
    assert waiting.take_events() == Event.CLOSED | Event.UNSENT
    assert (waiting.reset_code, waiting.out_bytes, running.closed) == (7, 11, False)


def test_a_request_opened_when_the_connection_is_lost_is_unsent_only_if_it_was() -> None:
    client, server = join()
    sent = client.open(REQUEST)
    pump(client, server)
    unsent = client.open(REQUEST)
    client.close()
    assert sent.take_events() == Event.CLOSED
    assert unsent.take_events() == Event.CLOSED | Event.UNSENT
    assert (sent.reset_code, unsent.reset_code) == (-2, -2)


def test_a_refused_stream_was_sent_and_says_refused() -> None:
    client, server = join()
    stream = client.open(REQUEST)
    pump(client, server)
    only(server.take_ready()).cancel(7)
    pump(client, server)
    assert (stream.take_events(), stream.reset_code) == (Event.CLOSED, 7)


def test_requests_over_the_peers_limit_wait_and_go_one_by_one() -> None:
    client, server = join(max_concurrent_streams=1)
    assert client.peer_max_concurrent_streams == 1
    streams = [client.open(REQUEST, Fields([(b"number", b"%d" % at)])) for at in range(4)]
    for stream in streams:
        stream.finish()
    served = []
    pump(client, server)
    while ready := [one for one in server.take_ready() if one.take_events() & Event.HEAD]:
        answer = only(ready)
        assert answer.head is not None
        served.append(answer.head.get(b"number"))
        answer.send_head(RESPONSE, OK, end=True)
        pump(client, server)
    assert served == [b"0", b"1", b"2", b"3"]
    assert [stream.reset_code for stream in streams] == [0] * 4


def test_a_peer_that_does_not_know_the_limit_yet_is_refused_and_the_rest_goes_on() -> None:
    server = Connection(server=True, max_concurrent_streams=2)
    server.take_output()
    server.receive(PREFACE + frame(FrameType.SETTINGS, 0, 0) + head(1) + head(3) + head(5))
    sent = frames(server.take_output())
    assert [(kind, stream_id, payload) for kind, _, stream_id, payload in sent[1:]] == [
        (FrameType.RST_STREAM, 5, (7).to_bytes(4, "big"))
    ]
    assert sorted(stream.id for stream in server.streams()) == [1, 3]
    assert server.failure is None


def test_terminate_says_why_and_sends_nothing_more() -> None:
    server = listening()
    server.receive(head(1))
    only(server.take_ready()).send_head(RESPONSE)
    server.terminate(11)
    sent = server.take_output()
    assert goaways(sent) == [(1, 11, b"")]
    assert frames(sent)[-1][0] is FrameType.GOAWAY
    assert (server.closing, server.take_output(), server.failure) == (True, b"", None)


def test_a_ping_is_answered_with_its_bytes_and_counted() -> None:
    client, server = join()
    for _ in range(3):
        client.ping(b"gyr ping")
    sent = client.take_output()
    server.receive(sent)
    assert frames(server.take_output()) == [(FrameType.PING, ACK, 0, b"gyr ping")] * 3
    assert (client.pings_acknowledged, server.pings_acknowledged) == (0, 0)
    client.receive(frame(FrameType.PING, ACK, 0, b"gyr ping"))
    assert client.pings_acknowledged == 1


@pytest.mark.parametrize("data", [b"", b"1234567", b"123456789"])
def test_a_ping_of_another_length_is_refused_and_named(data: bytes) -> None:
    client, _ = join()
    with pytest.raises(ValueError, match=f"8 bytes, not {len(data)}"):
        client.ping(data)


def test_a_request_that_comes_before_a_goaway_went_out_is_refused() -> None:
    """Its client is about to hear that it was not taken on, and may make it elsewhere."""
    server = listening()
    server.receive(head(1))
    server.goaway()
    server.receive(head(3))
    sent = server.take_output()
    assert goaways(sent) == [(1, 0, b"")]
    resets = [one for one in frames(sent) if one[0] is FrameType.RST_STREAM]
    assert resets == [(FrameType.RST_STREAM, 0, 3, b"\0\0\0\7")]
    assert [one.id for one in server.streams()] == [1]


def test_a_goaway_that_is_said_again_names_no_later_stream() -> None:
    """RFC 9113 6.8: the last stream of one GOAWAY is not above that of the one before it."""
    client, server = join()
    stream = client.open(REQUEST)
    server.goaway()
    server.receive(client.take_output())
    server.goaway(0, b"again")
    client.receive(server.take_output())
    assert client.failure is None
    assert stream.closed
    assert stream.reset_code == 7
