"""What a peer writes does not write in the log: a record is one line, quoted and cut.

Nor does it write in the text of an error, which a program may log or print.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.abuse.attacker import attacking
from tests.abuse.evil import Answer, Chunks, answering, ending, head_of
from tests.abuse.families import data, request_head, whole_call
from tests.call.service import SAFETY_NET_S, Calls, Stub
from tests.core.wires import END_STREAM, FrameType, frame, message

pytestmark = pytest.mark.anyio

# Ends of lines of every kind, colours, a title for the terminal, text from right to left, C1.
HOSTILE = "\r\n\x1b[2J\x1b]0;x\x07\u202e\u2028\x85\x9b31m\0 root logged in"
RAW = HOSTILE.encode() + b"\xff\xfe"
# HTTP allows no control characters in a field; it allows what UTF-8 and latin-1 make of these.
FIELD = "\u202e\u2028\x85\x9b31m root".encode() + b"\x9b2J\xff"
WORD = FIELD.replace(b" ", b"")
LONG = 4000
# A path and a text of 500 characters each, of which a few are escaped, and what is said of them.
MOST = 2500


def check_line(text: str) -> None:
    assert text.isprintable(), text
    assert len(text) <= MOST


def check(caplog: pytest.LogCaptureFixture) -> None:
    """Every record is one line, and so is each field that goes with it."""
    for record in caplog.records:
        if record.name.startswith("gyrfalcon"):
            check_line(record.getMessage())
            for field in ("peer", "method", "code"):
                check_line(str(getattr(record, field, "")))


async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    """A handler that repeats what it was told, as many do."""
    if request.value:
        raise gyr.InvalidArgument(f"there is no {request.value.decode(errors='replace')}")
    return request


@asynccontextmanager
async def attacked(caplog: pytest.LogCaptureFixture) -> AsyncIterator[int]:
    """The port of a server that logs whatever it can."""
    with caplog.at_level(logging.DEBUG):
        async with gyr.Server([Calls(unary=unary)], access_log=True) as server:
            yield await server.listen("127.0.0.1:0")


def told(value: bytes) -> bytes:
    """A call whose handler repeats the value; its length is a varint of two bytes."""
    size = len(value)
    return message(b"\n" + bytes([size & 127 | 128, size >> 7]) + value)


def calls(piece: bytes) -> Iterator[bytes]:
    """Calls with hostile text wherever a request has text."""
    fields = (
        (b"user-agent", FIELD),
        (b"key", FIELD),
        (b"key", FIELD * 50),
        (b"grpc-encoding", FIELD),
        (b"grpc-encoding", FIELD * 50),
        (b"grpc-timeout", FIELD),
        (b"grpc-accept-encoding", FIELD),
        (b"token-bin", FIELD),
        (b"forwarded", FIELD),
        (b"traceparent", FIELD),
    )
    number = 1
    for name, value in fields:
        yield whole_call(number, (name, value))
        number += 2
    for path in (b"/" + WORD, b"/tests.Calls/" + WORD, b"/" + WORD * 100, b"/" + b"x" * LONG):
        yield whole_call(number, path=path)
        number += 2
    for body in (piece, piece * 20, b"x" * LONG):
        yield request_head(number) + data(number, told(body), END_STREAM)
        number += 2


def attack(port: int) -> int:
    """Make them all, and wait for their answers; how many there were."""
    with attacking(port) as attacker:
        sent = list(calls(RAW))
        attacker.send_all(sent)
        for index in range(len(sent)):
            attacker.wait_for(2 * index + 1)
    return len(sent)


async def test_calls_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    async with attacked(caplog) as port:
        made = await asyncio.to_thread(attack, port)
    check(caplog)
    served = [one for one in caplog.records if one.name == "gyrfalcon.access"]
    assert len(served) == made


def goodbye(debug: bytes) -> bytes:
    return frame(FrameType.GOAWAY, 0, 0, b"\x7f\xff\xff\xff\0\0\0\2" + debug)


GOODBYES = {
    "GOAWAY with debug data": goodbye(RAW),
    "GOAWAY with long debug data": goodbye(RAW * 300),
    "GOAWAY that names a limit": goodbye(b"too_many_pings\n" + RAW),
    "no HTTP/2": RAW * 10,
}


def hang_up_on(port: int, last_words: bytes) -> None:
    with attacking(port) as attacker:
        attacker.send(whole_call(1) + last_words)


@pytest.mark.parametrize("name", GOODBYES)
async def test_last_words_of_a_client(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with attacked(caplog) as port:
        await asyncio.to_thread(hang_up_on, port, GOODBYES[name])
    check(caplog)


async def test_the_first_words_of_a_client(caplog: pytest.LogCaptureFixture) -> None:
    async with attacked(caplog) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /" + RAW + b" HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(SAFETY_NET_S):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    check(caplog)


def percent(text: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in text)


def saying(sent: bytes, stream_id: int) -> list[bytes]:
    """Last words, and the end of the connection."""
    return [sent, NO_STREAM]


# DATA on stream 0: a client hangs up on that.
NO_STREAM = data(0, b"x")
UNKNOWN_ERROR = (b"grpc-status", b"2")
ANSWERS: dict[str, Callable[[int], Chunks]] = {
    "grpc-message": ending(UNKNOWN_ERROR, (b"grpc-message", percent(RAW))),
    "long grpc-message": ending(UNKNOWN_ERROR, (b"grpc-message", percent(RAW * 50))),
    "grpc-message as it is": ending(UNKNOWN_ERROR, (b"grpc-message", FIELD * 100)),
    "grpc-status": ending((b"grpc-status", FIELD * 100)),
    "content-type": head_of((b":status", b"200"), (b"content-type", FIELD * 100)),
    "encoding": head_of(
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-encoding", FIELD * 100),
        (b"grpc-status", b"2"),
    ),
    "details that are none": ending(UNKNOWN_ERROR, (b"grpc-status-details-bin", b"AAAA" * 100)),
    "details that contradict": ending(
        UNKNOWN_ERROR,
        (b"grpc-message", percent(RAW)),
        (b"grpc-status-details-bin", b"CAUSBAoKG1s"),
    ),
    "metadata": ending(UNKNOWN_ERROR, (b"key", FIELD * 50), (b"token-bin", FIELD)),
    **{name: partial(saying, sent) for name, sent in GOODBYES.items()},
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_answers_of_a_server(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bad = Answer(name, ANSWERS[name], gyr.StatusCode.UNKNOWN)
    with answering(bad) as server:
        async with gyr.Channel(f"127.0.0.1:{server.port}") as channel:
            call = Stub(channel).unary(BytesValue(), timeout=SAFETY_NET_S)
            with pytest.raises(gyr.RpcError) as caught:
                await call
    check_line(str(caught.value))
    check(caplog)
