"""What a caller can do wrong, or late, gives an error or nothing: never a crash."""

from __future__ import annotations

import gc
import sys

import pytest

from gyrfalcon._core.fields import Fields

from .wires import OK, REQUEST, RESPONSE, Event, join, only, pump


def test_a_closed_connection_answers_every_question() -> None:
    client, _ = join()
    client.close()
    client.close()
    client.ping()
    client.drain()
    client.finish_drain()
    client.goaway(0)
    client.terminate()
    client.receive(b"late")
    assert client.take_output() == b""
    assert client.take_ready() == []
    assert client.streams() == []
    assert client.next_timeout() is None
    assert client.peer_max_concurrent_streams == 0
    assert (client.closing, client.can_open, client.closed) == (True, False, True)
    with pytest.raises(ConnectionError, match="the connection is closed"):
        client.open(REQUEST)


def test_a_closed_stream_takes_every_call_and_does_nothing() -> None:
    client, server = join()
    client.open(REQUEST)
    pump(client, server)
    stream = only(server.take_ready())
    server.close()
    stream.take_events()
    stream.send_head(RESPONSE)
    stream.send_message(b"late")
    stream.finish(OK)
    stream.cancel()
    stream.discard()
    stream.notify_writable(0)
    server.set_deadline(stream, 1.0)
    assert stream.take_message() is None
    assert (stream.take_events(), stream.out_bytes, server.next_timeout()) == (0, 0, None)


def test_a_deadline_for_another_connections_stream_changes_neither_heap() -> None:
    client, _ = join()
    other, _ = join()
    streams = [client.open(REQUEST) for _ in range(40)]
    for at, stream in enumerate(streams):
        client.set_deadline(stream, float(at))
    for stream in streams:
        other.set_deadline(stream, 0.5)
    assert other.next_timeout() is None
    client.on_timeout(19.5)
    due = [stream for stream in client.take_ready() if stream.take_events() & Event.DEADLINE]
    assert due == streams[:20]


@pytest.mark.parametrize("pair", [(b"key", None), (None, b"value"), (b"key", "text")])
def test_a_field_that_is_not_bytes_is_refused(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Fields([pair])


@pytest.mark.parametrize("waiting", [True, False], ids=["with a ready stream", "without"])
def test_a_connection_collected_in_a_cycle_lets_its_streams_go(waiting: bool) -> None:
    client, _ = join()
    streams = [client.open(REQUEST) for _ in range(20)]
    if waiting:
        client.set_deadline(streams[0], 1.0)
        client.on_timeout(2.0)
    cycle: list[object] = [client]
    cycle.append(cycle)
    del client, cycle
    gc.collect()
    assert [stream.closed for stream in streams] == [True] * 20
    assert [sys.getrefcount(stream) for stream in streams] == [3] * 20


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_second_head_is_refused_and_the_first_arrives_unharmed(side: str) -> None:
    client, server = join()
    stream = client.open(REQUEST, Fields([(b"first", b"1" * 300)]))
    pairs = [*REQUEST.pairs(), (b"first", b"1" * 300)]
    if side == "server":
        pump(client, server)
        pairs = [*RESPONSE.pairs(), (b"first", b"2" * 300)]
        stream, client, server = only(server.take_ready()), server, client
        stream.send_head(RESPONSE, Fields([(b"first", b"2" * 300)]))
    with pytest.raises(RuntimeError, match="a head was sent already"):
        stream.send_head(RESPONSE, Fields([(b"second", b"3" * 300)]))
    pump(client, server)
    received = only(server.take_ready()).head
    assert received is not None
    assert received.pairs() == pairs
