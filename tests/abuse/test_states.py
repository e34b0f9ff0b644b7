"""Every type of frame in every state of a stream, to a server and to a client.

The verdict of each is that of RFC 9113 5.1 and 6: no mistake, the stream's own mistake, or one that
ends the connection, each with its code. After the first two the next call is served on the same
connection; a client that was sent the third makes it on another one.

Nobody can be brought into the reserved states: a client may not promise anything, and a server is
told by ENABLE_PUSH=0 that it may not (6.6), so that PUSH_PROMISE is a mistake in every state.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.abuse.attacker import Attacker, attacking
from tests.abuse.evil import ok
from tests.abuse.families import (
    END_HEADERS,
    Code,
    data,
    request_head,
    reset,
    settings_frame,
    whole_call,
    window_update,
)
from tests.abuse.target import Process
from tests.call.service import SAFETY_NET_S, Stub
from tests.core.wires import (
    ACK,
    END_STREAM,
    PREFACE,
    RESPONSE_PAIRS,
    FrameType,
    frame,
    head,
    message,
)


@dataclass(frozen=True)
class Verdict:
    """What becomes of the stream and of the connection."""

    stream: Code | None = None
    """The code with which the stream is reset."""
    connection: Code | None = None
    """The code of the GOAWAY."""


FINE = Verdict()


def stream_error(code: Code) -> Verdict:
    return Verdict(stream=code)


def connection_error(code: Code) -> Verdict:
    return Verdict(connection=code)


BROKEN = connection_error(Code.PROTOCOL_ERROR)
MISTAKEN = stream_error(Code.PROTOCOL_ERROR)
OVER = stream_error(Code.STREAM_CLOSED)

STREAM = 3
LATER = 5
"""Opened by the next call."""

# What no stream has (6.5, 6.6, 6.7, 6.8, 6.10), and what everybody lets go by (5.5).
EVERYWHERE: dict[str, tuple[bytes, Verdict]] = {
    "SETTINGS": (frame(FrameType.SETTINGS, 0, STREAM), BROKEN),
    "PUSH_PROMISE": (
        frame(FrameType.PUSH_PROMISE, END_HEADERS, STREAM, struct.pack(">I", 2) + b"\x82"),
        BROKEN,
    ),
    "PING": (frame(FrameType.PING, 0, STREAM, bytes(8)), BROKEN),
    "GOAWAY": (frame(FrameType.GOAWAY, 0, STREAM, bytes(8)), BROKEN),
    "CONTINUATION": (frame(FrameType.CONTINUATION, END_HEADERS, STREAM), BROKEN),
    "PRIORITY": (frame(FrameType.PRIORITY, 0, STREAM, struct.pack(">IB", 0, 15)), FINE),
    "unknown": (b"\0\0\1" + bytes([0xBE, 0xFF]) + struct.pack(">I", STREAM) + b"x", FINE),
}
DATA = data(STREAM, message(b""))
LAST_DATA = data(STREAM, b"", END_STREAM)
REQUEST = request_head(STREAM, "Bidi")
TRAILERS = head(STREAM, [(b"key", b"value")], end=True)
ENDLESS_TRAILERS = head(STREAM, [(b"key", b"value")])
RESET = reset(STREAM)
CREDIT = window_update(STREAM, 1)
NO_CREDIT = window_update(STREAM, 0)
TOO_MUCH_CREDIT = window_update(STREAM, 2**31 - 1)

# ---------------------------------------------------------------------- a server

LONG_REPLY = message(b"\n\x071000000")

# How a stream comes into its state: what is sent, and whether the server ends it before that frame.
SERVER_STATES: dict[str, tuple[bytes, bool]] = {
    "idle": (b"", False),
    "open": (REQUEST, False),
    # Its reply is a long one that waits for a window.
    "half-closed (remote)": (
        request_head(STREAM, "ServerStream") + data(STREAM, LONG_REPLY, END_STREAM),
        False,
    ),
    "closed by END_STREAM": (whole_call(STREAM), True),
    "closed by its peer's reset": (REQUEST + RESET, False),
    "closed by our reset": (REQUEST + NO_CREDIT, True),
    "passed by": (whole_call(7), False),
}
# What may have crossed with our reset or our END_STREAM is let go by (5.1, closed). A head that
# begins a request anew, where one was answered, uses an id again: that ends the connection (5.1.1),
# and so does any on an id below one that was used.
SERVER: dict[str, dict[str, tuple[bytes, Verdict]]] = {
    "idle": {
        "DATA": (DATA, BROKEN),
        "HEADERS": (whole_call(STREAM), FINE),
        "RST_STREAM": (RESET, BROKEN),
        "WINDOW_UPDATE": (CREDIT, BROKEN),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, BROKEN),
    },
    "open": {
        "DATA": (DATA, FINE),
        "DATA that ends": (LAST_DATA, FINE),
        "HEADERS that end": (TRAILERS, FINE),
        "HEADERS that do not end": (ENDLESS_TRAILERS, MISTAKEN),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, MISTAKEN),
        "WINDOW_UPDATE of too much": (TOO_MUCH_CREDIT, stream_error(Code.FLOW_CONTROL_ERROR)),
    },
    "half-closed (remote)": {
        "DATA": (DATA, OVER),
        "DATA that ends": (LAST_DATA, OVER),
        "HEADERS that end": (TRAILERS, OVER),
        "HEADERS that do not end": (ENDLESS_TRAILERS, OVER),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, MISTAKEN),
    },
    "closed by END_STREAM": {
        "DATA": (DATA, OVER),
        "DATA that ends": (LAST_DATA, OVER),
        "HEADERS": (REQUEST, connection_error(Code.STREAM_CLOSED)),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, MISTAKEN),
    },
    "closed by its peer's reset": {
        "DATA": (DATA, OVER),
        "DATA that ends": (LAST_DATA, OVER),
        "HEADERS": (REQUEST, OVER),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, MISTAKEN),
    },
    "closed by our reset": {
        "DATA": (DATA, FINE),
        "DATA that ends": (LAST_DATA, FINE),
        "HEADERS": (TRAILERS, FINE),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, FINE),
    },
    "passed by": {
        "DATA": (DATA, BROKEN),
        "HEADERS": (REQUEST, BROKEN),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
    },
}
# A mistake that ends the stream before the frame comes has its own reset.
PROVOKED = {"closed by our reset": MISTAKEN.stream}


def cases(
    table: dict[str, dict[str, tuple[bytes, Verdict]]],
) -> Iterator[tuple[str, str, bytes, Verdict]]:
    for state, rows in table.items():
        for name, (sent, verdict) in {**rows, **EVERYWHERE}.items():
            yield state, name, sent, verdict


def by_case(table: dict[str, dict[str, tuple[bytes, Verdict]]]) -> pytest.MarkDecorator:
    every = list(cases(table))
    return pytest.mark.parametrize(
        ("state", "sent", "verdict"),
        [(state, sent, verdict) for state, _, sent, verdict in every],
        ids=[f"{name}, {state}" for state, name, _, _ in every],
    )


@by_case(SERVER)
def test_a_server(target: Process, state: str, sent: bytes, verdict: Verdict) -> None:
    opening, ends = SERVER_STATES[state]
    with attacking(target.port, settings=settings_frame((4, 100))) as attacker:
        attacker.send(whole_call(1) + opening)
        attacker.wait_for(1)
        if ends:
            attacker.wait_for(STREAM)
        attacker.round_trip()
        attacker.send(sent)
        if verdict.connection is None:
            # The next call, and what was answered before it.
            attacker.send(whole_call(LATER + 4))
            attacker.wait_for(LATER + 4)
            attacker.round_trip(b"and then")
            assert attacker.statuses[LATER + 4] == b"0"
        else:
            attacker.finish()
        told = None if attacker.goaway is None else attacker.goaway[0]
        assert told == verdict.connection
        expected = verdict.stream if verdict.stream is not None else PROVOKED.get(state)
        assert attacker.resets.get(STREAM) == expected
    target.settled()


# ---------------------------------------------------------------------- a client

RESPONSE = head(STREAM, RESPONSE_PAIRS)
STATUS = head(STREAM, [(b"grpc-status", b"0")], end=True)

# How the client's call comes there: what it does, and what it is answered.
CLIENT_STATES: dict[str, bytes] = {
    "idle": b"",
    "open": RESPONSE,
    "half-closed (local)": RESPONSE,
    "half-closed (local), without a head": b"",
    "closed by END_STREAM": RESPONSE + DATA + STATUS,
    "closed by its peer's reset": RESPONSE + RESET,
    "closed by our reset": RESPONSE,
}
ANSWERED = {
    "DATA": (DATA, FINE),
    "HEADERS that end": (STATUS, FINE),
    "HEADERS that do not end": (ENDLESS_TRAILERS, MISTAKEN),
    "RST_STREAM": (RESET, FINE),
    "WINDOW_UPDATE": (CREDIT, FINE),
    "WINDOW_UPDATE of nothing": (NO_CREDIT, MISTAKEN),
    "WINDOW_UPDATE of too much": (TOO_MUCH_CREDIT, stream_error(Code.FLOW_CONTROL_ERROR)),
}
# A client lets go by what comes for a stream that is over: RFC 9113 5.1 leaves it the choice.
IGNORED = {
    "DATA": (DATA, FINE),
    "HEADERS": (STATUS, FINE),
    "RST_STREAM": (RESET, FINE),
    "WINDOW_UPDATE": (CREDIT, FINE),
    "WINDOW_UPDATE of nothing": (NO_CREDIT, FINE),
}
CLIENT: dict[str, dict[str, tuple[bytes, Verdict]]] = {
    "idle": {
        "DATA": (DATA, BROKEN),
        "HEADERS": (RESPONSE, BROKEN),
        "RST_STREAM": (RESET, BROKEN),
        "WINDOW_UPDATE": (CREDIT, BROKEN),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, BROKEN),
    },
    # Who has its answer does not wait for the end of the request (8.1).
    "open": {**ANSWERED, "HEADERS that end": (STATUS, stream_error(Code.NO_ERROR))},
    "half-closed (local)": ANSWERED,
    "half-closed (local), without a head": {
        "DATA": (DATA, MISTAKEN),
        "HEADERS": (RESPONSE, FINE),
        "RST_STREAM": (RESET, FINE),
        "WINDOW_UPDATE": (CREDIT, FINE),
        "WINDOW_UPDATE of nothing": (NO_CREDIT, MISTAKEN),
    },
    "closed by END_STREAM": IGNORED,
    "closed by its peer's reset": IGNORED,
    "closed by our reset": IGNORED,
}


# What the client itself says of a call that it gave up.
CANCELLED = {"closed by our reset": Code.CANCEL}


class Server:
    """A bad server that a test is itself, connection by connection."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(SAFETY_NET_S)
        self.target = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._peers: list[Attacker] = []

    def accept(self) -> Attacker:
        connection, _ = self._listening.accept()
        peer = Attacker(connection, preface=PREFACE)
        self._peers.append(peer)
        peer.send(frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.SETTINGS, ACK, 0))
        return peer

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        self._listening.close()


@contextmanager
def bad_server() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


def wait_for_frame(peer: Attacker, stream_id: int, fits: Callable[[FrameType, int], bool]) -> None:
    """Wait until a frame of a stream has come that fits."""
    while not any(
        number == stream_id and fits(kind, flags) for kind, flags, number, _ in peer.all_frames()
    ):
        assert peer.wait(), f"the client has hung up: {peer.goaway}"


def answer_next(peer: Attacker, stream_id: int) -> None:
    wait_for_frame(peer, stream_id, lambda _, flags: bool(flags & END_STREAM))
    peer.send(ok(stream_id))


async def make_call(stub: Stub) -> bytes:
    """One of those around the one in question."""
    reply = await stub.unary(BytesValue(), timeout=SAFETY_NET_S, wait_for_ready=True)
    return reply.value


async def bring_to(state: str, stub: Stub, peer: Attacker) -> object:
    """Have the client's call on STREAM in a state; whoever gets the call keeps it."""
    if state == "idle":
        return None
    call = stub.bidi(timeout=SAFETY_NET_S)
    await call.send(BytesValue())
    if state.startswith("half-closed") or state == "closed by END_STREAM":
        await call.done_sending()
        await asyncio.to_thread(
            wait_for_frame, peer, STREAM, lambda _, flags: bool(flags & END_STREAM)
        )
    else:
        await asyncio.to_thread(
            wait_for_frame, peer, STREAM, lambda kind, _: kind is FrameType.DATA
        )
    peer.send(CLIENT_STATES[state])
    if state == "closed by our reset":
        call.cancel()
        await asyncio.to_thread(peer.wait_for, STREAM)
    await asyncio.to_thread(peer.round_trip)
    return call


# The frames are none of the loop's business: one loop will do.
@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": False})], ids=["asyncio"])
@pytest.mark.anyio
@by_case(CLIENT)
async def test_a_client(state: str, sent: bytes, verdict: Verdict) -> None:
    with bad_server() as server:
        async with gyr.Channel(server.target) as channel:
            stub = Stub(channel)
            first = asyncio.create_task(make_call(stub))
            peer = await asyncio.to_thread(server.accept)
            await asyncio.to_thread(answer_next, peer, 1)
            await first
            call = await bring_to(state, stub, peer)
            peer.send(sent)
            if verdict.connection is None:
                await asyncio.to_thread(peer.round_trip, b"and then")
                second = asyncio.create_task(make_call(stub))
                serving, stream_id = peer, STREAM if state == "idle" else LATER
            else:
                await asyncio.to_thread(peer.finish)
                second = asyncio.create_task(make_call(stub))
                serving, stream_id = await asyncio.to_thread(server.accept), 1
            await asyncio.to_thread(answer_next, serving, stream_id)
            assert await second == b"hello"
            told = None if peer.goaway is None else peer.goaway[0]
            assert told == verdict.connection
            expected = CANCELLED.get(state, verdict.stream)
            assert peer.resets.get(STREAM) == expected
            del call
