"""A whole channel with calls of each pattern, fed bytes as a server: each call ends, once, by a
reply or by an RpcError."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import cache
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from fuzz.choices import Choices, pieces
from fuzz.frames import SETTINGS, Frame, SentFrames
from fuzz.service import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY
from fuzz.stage import Stage, StageNetwork, WireTransport

PIECES = (1 << 16, 1, 9, 50)
SETTINGS_GIVEN, SMALL, WAITS, CANCELS, COMPRESSES = 4, 8, 32, 64, 128
SMALL_LIMITS: dict[str, Any] = {
    "max_receive_bytes": 50,
    "max_metadata_bytes": 1024,
    "stream_window": 65535,
    "connection_window": 65535,
    "max_unread_bytes": 65535,
}
REQUEST = BytesValue(value=b"a request")


async def take_all(call: Any) -> None:
    async for _ in call:
        pass


async def talk(call: Any) -> None:
    """Both directions, as a program has them: the server may end it at any step."""
    async with call:
        await call.initial_metadata()
        try:
            await call.send(REQUEST)
            await call.done_sending()
        except EOFError:
            await call.status()
            return
        while await call.receive() is not None:
            pass
        await call.trailing_metadata()


def begin(channel: gyr.Channel, options: int) -> list[Any]:
    """The calls, and what awaits each."""
    kinds: list[Any] = [gyr.UnaryUnary, gyr.UnaryStream, gyr.StreamUnary, gyr.StreamStream]
    methods = (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI)
    unary, server_stream, client_stream, bidi = (
        kind(channel, method) for kind, method in zip(kinds, methods, strict=True)
    )
    compression = "gzip" if options & COMPRESSES else None
    return [
        unary(REQUEST, timeout=5, metadata={"key-bin": b"\0\1"}, compression=compression),
        take_all(server_stream(REQUEST, compression=compression)),
        client_stream([REQUEST] * 3),
        talk(bidi(timeout=50)),
        unary(REQUEST),
    ]


async def outcome(call: Any) -> str:
    try:
        await call
    except gyr.RpcError as error:
        return error.code.name
    return "OK"


async def converse(stage: Stage, data: Iterable[bytes], options: int) -> None:
    network = StageNetwork(stage)
    limits = SMALL_LIMITS if options & SMALL else {}
    channel = gyr.Channel("192.0.2.1:1", network=network, **limits)
    waiting = [asyncio.ensure_future(outcome(call)) for call in begin(channel, options)]
    await stage.turn(3)
    transport = network.connected
    assert isinstance(transport, WireTransport)
    driver = transport.protocol
    sent = SentFrames(client=True)
    for number, piece in enumerate(data):
        await stage.call(transport.receive, piece)
        if options & WAITS or number == 0:
            await stage.turn(3)
        sent.take(transport.take_sent())
        room = limits.get("max_unread_bytes", 64 << 20)
        assert driver.connection.unread_bytes <= room + (1 << 16)
    await stage.turn(2)
    if options & WAITS:
        stage.clock.advance(10.0)
        await stage.turn(3)
    if options & CANCELS:
        waiting[-2].cancel()
        await stage.turn(3)
    sent.take(transport.take_sent())
    sent.end()
    await stage.call(transport.lose, None)
    await stage.turn(3)
    await channel.close()
    await stage.settle(lambda: all(one.done() for one in waiting), "the calls")
    # Their outcomes are of a few kinds; what is no RpcError is raised here.
    [one.result() for one in waiting if not one.cancelled()]
    assert driver.connection.open_streams == 0


@cache
def the_stage() -> Stage:
    return Stage()


def check(data: bytes) -> None:
    choices = Choices(data)
    options = choices.byte()
    sent = pieces(choices.rest(), PIECES[options & 3])
    if options & SETTINGS_GIVEN:
        sent.insert(0, bytes(Frame(SETTINGS, 0, 0)))
    stage = the_stage()
    stage.run(converse(stage, sent, options))


def seeds() -> Iterable[bytes]:
    from fuzz.record import conversations

    for sides in conversations().values():
        for options in (0, 1, WAITS, SMALL | WAITS, CANCELS, COMPRESSES):
            yield bytes([options]) + sides.server
