"""A receiver with any window gets a message of any length: credit comes back before it is spent."""

from __future__ import annotations

import pytest

from .wires import OK, REQUEST, RESPONSE, join, messages, only, pump

WINDOWS = [1, 2, 3, 1000, 16384, 65534, 65535, 65536, 70000, 131071, 131072, 1 << 20]


@pytest.mark.parametrize("window", WINDOWS)
def test_a_message_longer_than_the_servers_stream_window_arrives(window: int) -> None:
    body = bytes(3000 if window < 4 else 3 * window)
    client, server = join(stream_window=window)
    client.open(REQUEST).send_message(body)
    pump(client, server)
    assert messages(only(server.take_ready())) == [body]


@pytest.mark.parametrize("window", WINDOWS)
def test_messages_arrive_one_after_another_through_the_window(window: int) -> None:
    client, server = join(stream_window=window)
    stream = client.open(REQUEST)
    pump(client, server)
    received = only(server.take_ready())
    for size in (0, 1, window - 1, window, window + 1):
        stream.send_message(bytes(size))
        pump(client, server)
        assert [len(one) for one in messages(received) if type(one) is bytes] == [size]


def test_trailers_need_no_window_when_nothing_is_left_before_them() -> None:
    client, server = join(client={"stream_window": 0})
    stream = client.open(REQUEST)
    stream.finish()
    pump(client, server)
    answer = only(server.take_ready())
    answer.send_head(RESPONSE)
    answer.finish(OK)
    pump(client, server)
    assert (stream.remote_ended, stream.closed) == (True, True)
    assert stream.trailers is not None
    assert stream.trailers.pairs() == OK.pairs()
