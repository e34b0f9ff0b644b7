"""Our server, hyper-h2's client."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import Stream

from .strangers import Stranger
from .wires import (
    OK,
    REQUEST_PAIRS,
    RESPONSE,
    RESPONSE_PAIRS,
    Event,
    message,
    messages,
    only,
)


def serve(pairs: list[tuple[bytes, bytes]] = REQUEST_PAIRS, **settings: int) -> Stranger:
    stranger = Stranger(Connection(server=True, **settings))
    stranger.h2.send_headers(1, pairs)
    stranger.pump()
    return stranger


def answer_of(stranger: Stranger) -> Stream:
    return only([stream for stream in stranger.ours.take_ready() if stream.head_received])


def test_a_call_comes_and_its_answer_goes() -> None:
    stranger = serve()
    stranger.send(1, message(b"ask"))
    stranger.h2.end_stream(1)
    stranger.pump()
    stream = answer_of(stranger)
    assert stream.head is not None
    assert stream.head.pairs() == REQUEST_PAIRS
    assert (messages(stream), stream.remote_ended) == ([b"ask"], True)
    stream.send_head(RESPONSE)
    stream.send_message(b"answer")
    stream.finish(OK)
    stranger.pump()
    assert [event.headers for event in stranger.all(ResponseReceived)] == [RESPONSE_PAIRS]
    assert stranger.body(1) == message(b"answer")
    assert [event.headers for event in stranger.all(TrailersReceived)] == [OK.pairs()]
    assert len(stranger.all(StreamEnded)) == 1
    assert (stranger.all(StreamReset), stranger.ours.open_streams) == ([], 0)


def test_trailers_only_and_the_end_of_a_request_that_goes_on() -> None:
    stranger = serve()
    answer_of(stranger).send_head(RESPONSE, OK, end=True)
    stranger.pump()
    assert [event.headers for event in stranger.all(ResponseReceived)] == [
        RESPONSE_PAIRS + OK.pairs()
    ]
    assert len(stranger.all(StreamEnded)) == 1
    assert [event.error_code for event in stranger.all(StreamReset)] == [ErrorCodes.NO_ERROR]


def test_a_client_that_reads_through_a_window_of_one_byte_gets_everything() -> None:
    stranger = Stranger(Connection(server=True))
    stranger.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
    stranger.h2.send_headers(1, REQUEST_PAIRS, end_stream=True)
    stranger.pump()
    stream = answer_of(stranger)
    stream.send_head(RESPONSE)
    stream.send_message(b"one byte at a time")
    stream.finish(OK)
    stranger.pump()
    assert stranger.body(1) == message(b"one byte at a time")
    assert {len(event.data or b"") for event in stranger.all(DataReceived)} <= {0, 1}
    assert len(stranger.all(TrailersReceived)) == 1


@pytest.mark.parametrize("window", [300, 65535])
def test_padding_is_credited_like_data(window: int) -> None:
    stranger = serve(stream_window=window, connection_window=65535)
    stream = answer_of(stranger)
    body = message(b"p" * 3000)
    for start in range(0, len(body), 7):
        stranger.send(1, body[start : start + 7], pad=255)
    assert messages(stream) == [b"p" * 3000]
    assert stream.fault is None


@pytest.mark.parametrize("way", ["cancel", "discard", "a fault"])
def test_data_that_nobody_wants_gives_the_connections_window_back(way: str) -> None:
    stranger = serve(stream_window=65535, connection_window=65535)
    stream = answer_of(stranger)
    for at in range(1, 41, 2):
        if at > 1:
            stranger.h2.send_headers(at, REQUEST_PAIRS)
            stranger.pump()
            stream = max(stranger.ours.take_ready(), key=lambda one: one.id)
        if way == "discard":
            stream.discard()
        stranger.h2.send_data(at, b"\x09" * 16000)
        if way == "cancel":
            stream.cancel()
        stranger.pump()
    assert stranger.h2.outbound_flow_control_window > 65535 // 2
    assert stranger.ours.failure is None


def test_a_head_in_continuation_frames_comes_whole() -> None:
    pairs = [*REQUEST_PAIRS, *((b"x-%d" % at, b"long" * 1000) for at in range(20))]
    stranger = serve(pairs, max_header_bytes=200_000)
    stream = answer_of(stranger)
    assert stream.head is not None
    assert (stream.head.pairs(), stream.oversized_head) == (pairs, False)


def test_our_head_over_a_frame_goes_in_continuation_frames() -> None:
    stranger = Stranger(Connection(server=True))
    stranger.h2.update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: 200_000})
    stranger.h2.decoder.max_header_list_size = 200_000
    stranger.h2.send_headers(1, REQUEST_PAIRS)
    stranger.pump()
    pairs = [*RESPONSE_PAIRS, *((b"x-%d" % at, b"long" * 1000) for at in range(10))]
    answer_of(stranger).send_head(Fields(pairs))
    stranger.pump()
    assert [event.headers for event in stranger.all(ResponseReceived)] == [pairs]


def test_settings_that_change_in_the_middle_are_obeyed() -> None:
    stranger = serve()
    stream = answer_of(stranger)
    stream.send_head(RESPONSE)
    stranger.h2.update_settings(
        {SettingCodes.INITIAL_WINDOW_SIZE: 0, SettingCodes.HEADER_TABLE_SIZE: 0}
    )
    stranger.pump()
    stream.send_message(b"waits")
    stranger.pump()
    assert stranger.body(1) == b""
    stranger.h2.update_settings(
        {SettingCodes.INITIAL_WINDOW_SIZE: 4, SettingCodes.MAX_FRAME_SIZE: 20000}
    )
    stranger.pump()
    assert stranger.body(1) == message(b"waits")
    stream.finish(OK)
    stranger.pump()
    assert [event.headers for event in stranger.all(TrailersReceived)] == [OK.pairs()]


def test_a_reset_a_ping_and_a_goaway_are_understood() -> None:
    stranger = serve()
    stranger.h2.send_headers(3, REQUEST_PAIRS)
    stranger.pump()
    one, three = sorted(stranger.ours.take_ready(), key=lambda stream: stream.id)
    stranger.h2.reset_stream(1, ErrorCodes.CANCEL)
    stranger.h2.ping(b"12345678")
    stranger.pump()
    assert (one.reset_code, one.closed, three.closed) == (8, True, False)
    assert [event.ping_data for event in stranger.all(PingAckReceived)] == [b"12345678"]
    three.cancel(11)
    stranger.ours.goaway(11, b"too_many_pings")
    stranger.pump()
    assert [event.error_code for event in stranger.all(StreamReset)] == [
        ErrorCodes.ENHANCE_YOUR_CALM
    ]
    assert [
        (event.error_code, event.last_stream_id, event.additional_data)
        for event in stranger.all(ConnectionTerminated)
    ] == [(ErrorCodes.ENHANCE_YOUR_CALM, 3, b"too_many_pings")]


def test_a_clients_goaway_lets_its_streams_finish() -> None:
    stranger = serve()
    stream = answer_of(stranger)
    last = stranger.h2
    last.close_connection(ErrorCodes.NO_ERROR, additional_data=b"bye", last_stream_id=0)
    stranger.ours.receive(last.data_to_send())
    assert (stranger.ours.goaway_received, stranger.ours.goaway_data) == (True, b"bye")
    stream.send_head(RESPONSE, OK, end=True)
    assert stranger.ours.take_output() != b""
    assert (stream.closed, Event.CLOSED in Event(stream.events)) == (True, True)
