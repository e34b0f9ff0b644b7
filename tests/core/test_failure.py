"""A connection that bad bytes have ended says so: `closing`, a GOAWAY, and why in `failure`."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection

from .wires import (
    END_HEADERS,
    PREFACE,
    REQUEST_PAIRS,
    FrameType,
    frame,
    frames,
    head,
    join,
    listening,
    pump,
)

AT_A_SERVER = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no SETTINGS": PREFACE + frame(FrameType.PING, 0, 0, bytes(8)),
    "DATA on stream 0": PREFACE + frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.DATA, 0, 0),
    "short PING": PREFACE + frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.PING, 0, 0, b"1"),
    "bad HPACK": PREFACE
    + frame(FrameType.SETTINGS, 0, 0)
    + frame(FrameType.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize("case", AT_A_SERVER)
def test_a_server_names_what_was_no_http2(case: str, step: int) -> None:
    server = Connection(server=True)
    output = b""
    for start in range(0, len(AT_A_SERVER[case]), step):
        server.receive(AT_A_SERVER[case][start : start + step])
        output += server.take_output()
    assert server.closing is True
    assert frames(output)[-1][0] == FrameType.GOAWAY
    assert server.failure


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(9), b"\x15\x03\x01" * 5]
)
def test_a_client_names_what_was_no_http2(text: bytes) -> None:
    client = Connection(server=False)
    client.receive(text)
    assert frames(client.take_output().removeprefix(PREFACE))[-1][0] == FrameType.GOAWAY
    assert client.closing is True
    assert client.failure


def test_a_goaway_of_our_own_is_no_failure() -> None:
    client, server = join()
    server.goaway(11, b"too_many_pings")
    pump(client, server)
    assert server.failure is None
    assert (client.goaway_code, client.goaway_data) == (11, b"too_many_pings")


def test_a_streams_own_fault_is_not_named_as_the_connections() -> None:
    server = listening()
    server.receive(head(1, [*REQUEST_PAIRS, (b"Upper", b"x")]))
    for _ in range(1200):
        server.receive(frame(FrameType.SETTINGS, 0, 0))
    assert server.failure is not None
    assert "Upper" not in server.failure
    assert "settings_rate" in server.failure
