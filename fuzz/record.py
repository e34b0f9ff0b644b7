"""Real conversations of a channel with a server, byte by byte: what the fuzzer begins with.

python -m fuzz.record            # prints what each pattern says, frame by frame
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from fuzz.frames import all_frames
from fuzz.service import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY, WAIT, Fuzzed
from fuzz.stage import Stage, StageNetwork, WireTransport

TEXT = BytesValue(value=b"hello, hello, hello, hello, hello")
METADATA: dict[str, str | bytes] = {"key": "value", "trace-bin": b"\0\1\2"}


class Sides(NamedTuple):
    """What each side sent."""

    client: bytes
    server: bytes


class Recording:
    """A channel and a server joined, and all that passes between them."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        self.stage = stage
        self.options = options
        self.sides = {"client": b"", "server": b""}

    async def record(self, talk: Callable[[gyr.Channel], Awaitable[object]]) -> None:
        network, served = StageNetwork(self.stage), StageNetwork(self.stage)
        server = gyr.Server([Fuzzed()], network=served, **self.options)
        await server.listen("192.0.2.1:1")
        channel = gyr.Channel("192.0.2.1:1", network=network, **self.options)
        talking = asyncio.ensure_future(talk(channel))
        await self.stage.turn(3)
        assert network.connected is not None
        there = network.connected
        back = WireTransport(self.stage, served.make_protocol())
        await self.stage.call(back.protocol.connection_made, back)
        await self.carry(there, back)
        await talking
        closing = asyncio.ensure_future(channel.close())
        await self.carry(there, back)
        await closing
        stopping = asyncio.ensure_future(server.stop())
        await self.carry(there, back)
        back.lose(None)
        await stopping

    async def carry(self, there: WireTransport, back: WireTransport) -> None:
        """Carry bytes until nobody says anything any more."""
        silent = 0
        while silent < 10:
            sent, answered = there.take_sent(), back.take_sent()
            self.sides["client"] += sent
            self.sides["server"] += answered
            silent = 0 if sent or answered else silent + 1
            await self.stage.call(back.receive, sent)
            await self.stage.call(there.receive, answered)
            await self.stage.turn()


async def unary(channel: gyr.Channel) -> None:
    call = gyr.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
    assert await call(TEXT, metadata=METADATA, timeout=5) == TEXT


async def server_stream(channel: gyr.Channel) -> None:
    call = gyr.UnaryStream[BytesValue, BytesValue](channel, SERVER_STREAM)
    assert [one async for one in call(TEXT)] == [TEXT] * 3


async def client_stream(channel: gyr.Channel) -> None:
    call = gyr.StreamUnary[BytesValue, BytesValue](channel, CLIENT_STREAM)
    assert (await call([TEXT] * 3)).value == b"3"


async def bidi(channel: gyr.Channel) -> None:
    call = gyr.StreamStream[BytesValue, BytesValue](channel, BIDI)
    async with call() as talk:
        for _ in range(3):
            await talk.send(TEXT)
            assert await talk.receive() == TEXT
        await talk.done_sending()
        assert await talk.receive() is None


async def failing(channel: gyr.Channel) -> None:
    call = gyr.StreamStream[BytesValue, BytesValue](channel, BIDI)
    status = await call([TEXT, BytesValue(value=b"stop"), TEXT]).status()
    assert status.code is gyr.StatusCode.ABORTED


async def cancelled(channel: gyr.Channel) -> None:
    call = gyr.UnaryUnary[BytesValue, BytesValue](channel, WAIT)(TEXT)
    for _ in range(20):
        await asyncio.sleep(0)
    call.cancel()
    assert (await call.status()).code is gyr.StatusCode.CANCELLED


async def unknown(channel: gyr.Channel) -> None:
    method: gyr.Method[Any, Any] = gyr.Method(
        "f.S", "None", "none", gyr.Pattern.UNARY_UNARY, BytesValue, BytesValue
    )
    status = await gyr.UnaryUnary[BytesValue, BytesValue](channel, method)(TEXT).status()
    assert status.code is gyr.StatusCode.UNIMPLEMENTED


async def several(channel: gyr.Channel) -> None:
    await asyncio.gather(unary(channel), server_stream(channel), bidi(channel))
    await unary(channel)


async def large(channel: gyr.Channel) -> None:
    call = gyr.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
    message = BytesValue(value=b"0123456789abcdef" * 300)
    assert await call(message) == message


TALKS = (
    unary, server_stream, client_stream, bidi, failing, cancelled, unknown, several, large,
)  # fmt: skip


@cache
def conversations() -> dict[str, Sides]:
    """Every pattern and the usual failures, plain and compressed, by name."""
    found = {}
    for compression in (None, "gzip"):
        for talk in TALKS:
            stage = Stage()
            recording = Recording(stage, compression=compression)
            stage.run(recording.record(talk))
            name = talk.__name__ if compression is None else f"{talk.__name__}, {compression}"
            found[name] = Sides(**recording.sides)
    return found


def main() -> None:
    for name, sides in conversations().items():
        for side, data in sides._asdict().items():
            print(f"{name}: {side}, {len(data)} bytes")
            for frame in all_frames(data):
                print(f"    {frame}")


if __name__ == "__main__":
    main()
