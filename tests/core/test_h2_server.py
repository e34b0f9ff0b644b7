"""Our client, hyper-h2's server."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import Stream

from .strangers import Stranger
from .wires import (
    OK,
    REQUEST,
    REQUEST_PAIRS,
    RESPONSE_PAIRS,
    Event,
    message,
    messages,
)


def call(extra: Fields | None = None, **settings: int) -> tuple[Stranger, Stream]:
    stranger = Stranger(Connection(server=False, **settings))
    stream = stranger.ours.open(REQUEST, extra)
    stranger.pump()
    return stranger, stream


def test_a_call_goes_and_its_answer_comes() -> None:
    stranger, stream = call()
    stream.send_message(b"ask")
    stream.finish()
    stranger.pump()
    assert [event.headers for event in stranger.all(RequestReceived)] == [REQUEST_PAIRS]
    assert stranger.body(1) == message(b"ask")
    assert len(stranger.all(StreamEnded)) == 1
    stranger.h2.send_headers(1, RESPONSE_PAIRS)
    stranger.send(1, message(b"answer"))
    stranger.h2.send_headers(1, OK.pairs(), end_stream=True)
    stranger.pump()
    assert messages(stream) == [b"answer"]
    assert stream.head is not None
    assert stream.trailers is not None
    assert (stream.head.pairs(), stream.trailers.pairs()) == (RESPONSE_PAIRS, OK.pairs())
    assert (stream.reset_code, stranger.ours.open_streams) == (0, 0)


@pytest.mark.parametrize("status", [b"100", b"103", b"199"])
def test_informational_heads_go_by_unseen(status: bytes) -> None:
    stranger, stream = call()
    for _ in range(3):
        stranger.h2.send_headers(1, [(b":status", status), (b"link", b"</style.css>")])
        stranger.pump()
        assert (stream.head_received, stranger.ours.take_ready()) == (False, [])
    stranger.h2.send_headers(1, RESPONSE_PAIRS)
    stranger.pump()
    assert stream.take_events() == Event.HEAD
    assert stream.head is not None
    assert stream.head.pairs() == RESPONSE_PAIRS


def test_a_server_that_reads_through_a_window_of_one_byte_gets_everything() -> None:
    stranger = Stranger(Connection(server=False))
    stranger.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1})
    stranger.pump()
    stream = stranger.ours.open(REQUEST)
    stream.send_message(b"one byte at a time")
    stream.finish()
    stranger.pump()
    assert stranger.body(1) == message(b"one byte at a time")
    assert {len(event.data or b"") for event in stranger.all(DataReceived)} <= {0, 1}
    assert (stream.out_bytes, len(stranger.all(StreamEnded))) == (0, 1)


def test_padded_answers_and_heads_in_continuation_frames_come_whole() -> None:
    pairs = [*RESPONSE_PAIRS, *((b"x-%d" % at, b"long" * 1000) for at in range(20))]
    stranger, stream = call(max_header_bytes=200_000, stream_window=1000)
    stranger.h2.send_headers(1, pairs)
    body = message(b"p" * 5000)
    for start in range(0, len(body), 100):
        stranger.send(1, body[start : start + 100], pad=200)
    assert stream.head is not None
    assert (stream.head.pairs(), messages(stream)) == (pairs, [b"p" * 5000])


def test_our_head_over_a_frame_goes_in_continuation_frames() -> None:
    stranger = Stranger(Connection(server=False))
    stranger.h2.decoder.max_header_list_size = 200_000
    extra = Fields([(b"x-%d" % at, b"long" * 1000) for at in range(10)])
    stranger.ours.open(REQUEST, extra)
    stranger.pump()
    assert [event.headers for event in stranger.all(RequestReceived)] == [
        REQUEST_PAIRS + extra.pairs()
    ]


def test_settings_that_change_in_the_middle_are_obeyed() -> None:
    stranger, stream = call()
    stranger.h2.update_settings(
        {SettingCodes.INITIAL_WINDOW_SIZE: 0, SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    )
    stranger.pump()
    other = stranger.ours.open(REQUEST)
    stream.send_message(b"waits")
    stranger.pump()
    assert (stranger.body(1), len(stranger.all(RequestReceived))) == (b"", 1)
    stranger.h2.update_settings(
        {SettingCodes.INITIAL_WINDOW_SIZE: 100, SettingCodes.HEADER_TABLE_SIZE: 0}
    )
    stranger.pump()
    assert stranger.body(1) == message(b"waits")
    stream.finish()
    stranger.h2.send_headers(1, RESPONSE_PAIRS + OK.pairs(), end_stream=True)
    stranger.pump()
    assert stranger.ours.peer_max_concurrent_streams == 1
    assert [event.stream_id for event in stranger.all(RequestReceived)] == [1, other.id]
    assert [event.headers for event in stranger.all(RequestReceived)] == [REQUEST_PAIRS] * 2


@pytest.mark.parametrize("code", [ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR])
def test_resets_keep_their_codes_both_ways(code: ErrorCodes) -> None:
    stranger, stream = call()
    stranger.h2.reset_stream(1, code)
    stranger.pump()
    assert (stream.reset_code, stream.take_events()) == (int(code), Event.CLOSED)
    second = stranger.ours.open(REQUEST)
    stranger.pump()
    second.cancel()
    stranger.pump()
    assert [(event.stream_id, event.error_code) for event in stranger.all(StreamReset)] == [
        (3, ErrorCodes.CANCEL)
    ]


def test_a_goaway_is_kept_with_its_words_and_refuses_what_is_above_it() -> None:
    stranger, stream = call()
    above = stranger.ours.open(REQUEST)
    stranger.pump()
    stranger.h2.close_connection(
        ErrorCodes.ENHANCE_YOUR_CALM, additional_data=b"too_many_pings", last_stream_id=1
    )
    stranger.ours.receive(stranger.h2.data_to_send())
    ours = stranger.ours
    assert (ours.goaway_code, ours.goaway_data) == (11, b"too_many_pings")
    assert (above.reset_code, above.closed, stream.closed) == (7, True, False)
    assert (ours.can_open, ours.failure) == (False, None)
    late = ours.open(REQUEST)
    sent = ours.take_output()
    assert (sent, late.take_events()) == (b"", Event.CLOSED | Event.UNSENT)
