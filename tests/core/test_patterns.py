"""The four patterns of a call, and every way in which a call can end early."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import Stream

from .wires import (
    END_STREAM,
    OK,
    REQUEST,
    REQUEST_PAIRS,
    RESPONSE,
    Event,
    FrameType,
    frames,
    join,
    messages,
    only,
    pump,
)

REQUESTS = {"unary": [b"ask"], "stream": [b"1", b"", b"3" * 20000], "empty stream": []}


def begin() -> tuple[Connection, Connection, Stream, Stream]:
    client, server = join()
    stream = client.open(REQUEST)
    pump(client, server)
    answer = only(server.take_ready())
    assert answer.take_events() == Event.HEAD
    return client, server, stream, answer


def news(connection: Connection) -> list[Event]:
    return [Event(stream.take_events()) for stream in connection.take_ready()]


@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize("answered", REQUESTS)
@pytest.mark.parametrize("first", ["client ends first", "server answers first"])
def test_every_pattern_delivers_its_messages_and_one_end(
    asked: str, answered: str, first: str
) -> None:
    client, server, stream, answer = begin()
    for one in REQUESTS[asked]:
        stream.send_message(one)
    if first == "client ends first":
        stream.finish()
        pump(client, server)
    answer.send_head(RESPONSE)
    for one in REQUESTS[answered]:
        answer.send_message(one)
    pump(client, server)
    stream.finish()
    pump(client, server)
    assert messages(answer) == REQUESTS[asked]
    assert (answer.remote_ended, answer.closed) == (True, False)
    answer.finish(OK)
    pump(client, server)
    assert messages(stream) == REQUESTS[answered]
    assert stream.trailers is not None
    assert stream.trailers.pairs() == OK.pairs()
    assert (stream.reset_code, answer.reset_code) == (0, 0)
    assert (client.open_streams, server.open_streams) == (0, 0)
    assert (Event.END in Event(stream.events), Event.END in Event(answer.events)) == (True, True)


def test_a_unary_request_comes_with_its_end_in_one_piece_of_news() -> None:
    client, server = join()
    stream = client.open(REQUEST, Fields([(b"grpc-timeout", b"1S")]))
    stream.send_message(b"ask")
    stream.finish()
    server.receive(client.take_output())
    answer = only(server.take_ready())
    assert answer.take_events() == Event.HEAD | Event.MESSAGE | Event.END
    assert answer.head is not None
    assert answer.head.pairs() == [*REQUEST_PAIRS, (b"grpc-timeout", b"1S")]
    assert answer.head.get(b"grpc-timeout") == b"1S"
    assert answer.take_events() == 0


def test_messages_cross_while_both_sides_are_open() -> None:
    client, server, stream, answer = begin()
    answer.send_head(RESPONSE)
    for text in (b"a", b"b", b"c"):
        stream.send_message(text)
        pump(client, server)
        assert messages(answer) == [text]
        answer.send_message(text.upper())
        pump(client, server)
        assert messages(stream) == [text.upper()]
    assert (stream.remote_ended, answer.remote_ended) == (False, False)


def test_trailers_only_is_one_head_that_ends_the_stream() -> None:
    client, server, stream, answer = begin()
    stream.finish()
    pump(client, server)
    answer.send_head(RESPONSE, Fields([(b"grpc-status", b"5")]), end=True)
    sent = server.take_output()
    assert [(kind, flags & END_STREAM) for kind, flags, *_ in frames(sent)] == [
        (FrameType.HEADERS, END_STREAM)
    ]
    client.receive(sent)
    assert news(client) == [Event.HEAD | Event.END | Event.CLOSED]
    assert stream.head is not None
    assert (stream.head.get(b"grpc-status"), stream.trailers) == (b"5", None)
    assert (stream.local_ended, answer.closed) == (True, True)


@pytest.mark.parametrize("way", ["trailers", "trailers only"])
def test_a_server_that_ends_early_sends_trailers_and_then_no_error(way: str) -> None:
    client, server, stream, answer = begin()
    stream.send_message(b"part of many")
    pump(client, server)
    if way == "trailers":
        answer.send_head(RESPONSE)
        answer.send_message(b"enough")
        answer.finish(OK)
    else:
        answer.send_head(RESPONSE, OK, end=True)
    sent = server.take_output()
    kinds = [(kind, payload) for kind, _, _, payload in frames(sent) if kind != FrameType.DATA]
    assert [kind for kind, _ in kinds[-2:]] == [FrameType.HEADERS, FrameType.RST_STREAM]
    assert kinds[-1][1] == bytes(4)
    client.receive(sent)
    assert messages(stream) == ([b"enough"] if way == "trailers" else [])
    assert (stream.remote_ended, stream.closed, stream.reset_code) == (True, True, 0)
    stream.send_message(b"nobody wants it")
    stream.finish()
    assert client.take_output() == b""
    assert (client.open_streams, server.open_streams) == (0, 0)


@pytest.mark.parametrize("code", [0, 1, 2, 7, 8, 11])
def test_a_client_that_cancels_ends_both_sides_with_its_code(code: int) -> None:
    client, server, stream, answer = begin()
    answer.send_head(RESPONSE)
    answer.send_message(b"x" * 200000)
    pump(client, server)
    news(client)
    stream.cancel(code)
    pump(client, server)
    assert (stream.reset_code, answer.reset_code) == (code, code)
    assert (news(client), news(server)) == ([Event.CLOSED], [Event.CLOSED])
    assert stream.take_message() is None
    assert (client.open_streams, server.open_streams) == (0, 0)
    assert client.unread_bytes == 0


@pytest.mark.parametrize("answered", [True, False], ids=["after its head", "before any head"])
def test_a_server_that_resets_ends_both_sides_with_its_code(answered: bool) -> None:
    client, server, stream, answer = begin()
    if answered:
        answer.send_head(RESPONSE)
        pump(client, server)
    news(client)
    answer.cancel(11)
    pump(client, server)
    assert (stream.reset_code, answer.reset_code) == (11, 11)
    assert news(client) == [Event.CLOSED]


def test_cancelling_on_both_sides_at_once_closes_each_once() -> None:
    client, server, stream, answer = begin()
    stream.cancel(8)
    answer.cancel(2)
    pump(client, server)
    assert (news(client), news(server)) == ([Event.CLOSED], [Event.CLOSED])
    assert (client.failure, server.failure) == (None, None)


def test_what_was_delivered_whole_before_a_reset_is_still_there_and_a_part_is_not() -> None:
    client, server, stream, answer = begin()
    answer.send_head(RESPONSE)
    answer.send_message(b"whole")
    answer.send_message(b"p" * 100000)
    while len(sent := server.take_output(1)) > 0 and not messages_wait(stream):
        client.receive(sent)
    answer.cancel()
    pump(client, server)
    assert messages(stream) == [b"whole"]
    assert (stream.closed, stream.reset_code) == (True, 8)


def messages_wait(stream: Stream) -> bool:
    return Event.MESSAGE in Event(stream.events)


def test_dropped_requests_do_not_wait_and_do_not_fail() -> None:
    client, server, stream, answer = begin()
    answer.discard()
    stream.send_message(b"x" * 5_000_000)
    stream.finish()
    pump(client, server)
    assert (answer.take_message(), answer.remote_ended, answer.fault) == (None, True, None)
    assert (stream.out_bytes, server.unread_bytes) == (0, 0)
