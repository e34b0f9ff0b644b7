"""The TLS layer by itself: bytes in pieces of every size, its two kinds of end, broken peers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import gyrfalcon as gyr
from gyrfalcon.transport.tls import TlsError
from tests.certificates import Certificates
from tests.tls.layers import End, carry

# More than a record of TLS, less than it takes to be slow byte by byte.
LONG = bytes(range(256)) * 80


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that only the clock's timers ask for; it never runs."""
    found = asyncio.new_event_loop()
    yield found
    found.close()


@pytest.fixture
def clock() -> gyr.ManualClock:
    return gyr.ManualClock()


@pytest.fixture
def ends(
    certificates: Certificates, loop: asyncio.AbstractEventLoop, clock: gyr.ManualClock
) -> tuple[End, End]:
    """A client's and a server's, which has not been told anything."""
    return (
        End(certificates, server=False, loop=loop, clock=clock),
        End(certificates, server=True, loop=loop, clock=clock),
    )


@pytest.fixture
def agreed(ends: tuple[End, End]) -> tuple[End, End]:
    """Both, with TLS agreed on."""
    carry(*ends, 2**16)
    assert [end.over for end in ends] == [[None], [None]]
    return ends


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 100, 1000, 2**16])
def test_bytes_may_come_in_any_pieces(size: int, ends: tuple[End, End]) -> None:
    client, server = ends
    carry(client, server, size)
    assert (client.over, server.over) == ([None], [None])
    assert (client.top.events, server.top.events) == (["made"], ["made"])
    for sender, receiver in (ends, reversed(ends)):
        sender.layer.write(LONG)
        sender.layer.write(b"and more")
        carry(client, server, size)
        assert receiver.top.received == LONG + b"and more"
    client.layer.close()
    carry(client, server, size)
    assert server.top.events == ["made", "eof"]
    assert server.wire.closed


def test_every_split_of_a_handshake_and_its_first_bytes(
    certificates: Certificates, loop: asyncio.AbstractEventLoop, clock: gyr.ManualClock
) -> None:
    """What the client sends last goes in two pieces, split at every byte of it."""
    split = 0
    while True:
        client = End(certificates, server=False, loop=loop, clock=clock)
        server = End(certificates, server=True, loop=loop, clock=clock)
        server.feed(client.wire.take(), 2**16)
        client.feed(server.wire.take(), 2**16)
        client.layer.write(b"first")
        flight = client.wire.take()
        server.feed(flight[:split], 2**16)
        server.feed(flight[split:], 2**16)
        assert (server.over, server.top.received) == ([None], b"first")
        split += 1
        if split >= len(flight):
            break
    assert split > 50


def test_a_flush_is_one_write_and_a_read_is_handed_over_at_once(agreed: tuple[End, End]) -> None:
    client, server = agreed
    client.layer.write(LONG * 10)
    assert len(client.wire.written) == 1
    # Thirteen records, of which the last is not complete at the end of the first piece.
    data = client.wire.take()
    server.feed(data[:-1], 2**20)
    assert server.top.pieces == 1
    server.feed(data[-1:], 2**20)
    assert (server.top.pieces, server.top.received) == (2, LONG * 10)


def test_more_than_the_buffer_takes_comes_in_several_pieces(agreed: tuple[End, End]) -> None:
    client, server = agreed
    big = LONG * 20  # 400 KiB; a read takes 256
    client.layer.write(big)
    data = client.wire.take()
    server.feed(data[:5000], 2**20)
    server.feed(data[5000:], 2**20)
    assert server.top.received == big


def test_a_close_is_told_by_close_notify(agreed: tuple[End, End]) -> None:
    client, server = agreed
    client.layer.close()
    assert client.wire.closed
    client.layer.write(b"dropped")
    server.feed(client.wire.take(), 2**16)
    assert (server.top.events, server.wire.closed) == (["made", "eof"], True)
    server.layer.connection_lost(None)
    assert (server.top.events, server.top.error) == (["made", "eof", "lost"], None)


def test_an_end_without_close_notify_is_a_lost_connection(agreed: tuple[End, End]) -> None:
    _, server = agreed
    assert server.layer.eof_received() is False
    server.layer.connection_lost(None)
    assert isinstance(server.top.error, TlsError)
    assert str(server.top.error) == "the peer closed the connection without TLS's close_notify"


def test_a_record_that_was_changed_on_its_way_ends_the_connection(
    agreed: tuple[End, End], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gyrfalcon.transport")
    client, server = agreed
    client.layer.write(b"good")
    client.layer.write(b"bad")
    data = bytearray(client.wire.take())
    data[-1] ^= 1
    server.feed(bytes(data), 2**16)
    assert server.top.received == b"good"
    assert server.wire.closed
    server.layer.write(b"dropped")
    alert = server.wire.take()
    server.layer.connection_lost(None)
    assert str(server.top.error).startswith("TLS broke: decryption failed or bad record mac")
    client.feed(alert, 2**16)
    client.layer.connection_lost(None)
    assert str(client.top.error) == "TLS broke: the peer refused: sslv3 alert bad record mac"
    assert "TLS broke: decryption failed or bad record mac" in caplog.text


def test_pauses_pass_through(agreed: tuple[End, End]) -> None:
    client, _ = agreed
    client.layer.pause_writing()
    client.layer.resume_writing()
    assert client.top.events == ["made", "pause", "resume"]


def test_an_end_in_the_handshake(ends: tuple[End, End]) -> None:
    client, server = ends
    server.feed(client.wire.take()[:20], 2**16)
    for end in ends:
        end.layer.connection_lost(None)
        assert [str(error) for error in end.over] == ["the peer closed the connection"]
        assert end.top.events == []


def test_an_abort_before_there_is_a_transport(ends: tuple[End, End]) -> None:
    client, _ = ends
    client.layer.abort()
    assert client.wire.aborted
    assert client.over == [], "who aborts need not be told"


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (b"GET / HTTP/1.1\r\n", "it does not speak TLS: it began with 'GET / HTTP/1.1\\\\r\\\\n'"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "it does not speak TLS but HTTP/2 in plaintext"),
        (b"\x00\xff\n", "it does not speak TLS: it began with '\\\\x00\\\\xff\\\\n'"),
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_a_client_without_tls(first: bytes, told: str, size: int, ends: tuple[End, End]) -> None:
    _, server = ends
    server.feed(first, size)
    (error,) = server.over
    begin = told if size > 1 or b"PRI" in first else told.partition("'")[0]
    assert str(error).replace("\\\\", "\\").startswith(begin.replace("\\\\", "\\"))
    assert server.wire.take() == b"\x15\x03\x01\x00\x02\x02\x46"
    assert server.wire.closed


def test_records_without_end_are_cut(ends: tuple[End, End]) -> None:
    """A ClientHello in pieces of one byte, each in a record of its own."""
    client, server = ends
    hello = client.wire.take()[5:]
    for byte in hello:
        if server.over:
            break
        server.feed(b"\x16\x03\x01\x00\x01" + bytes([byte]), 2**16)
    (error,) = server.over
    assert str(error) == "its handshake is over 131072 bytes or 64 records"


def test_renegotiation_is_not_done(certificates: Certificates) -> None:
    import ssl

    settings = certificates.server_tls(), certificates.client_tls()
    for one in settings:
        context = one.context(0.0)
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
