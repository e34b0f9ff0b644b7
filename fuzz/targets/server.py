"""A whole server fed bytes as a client: whatever they are, it fails nobody but that client.

The first byte of an input chooses how the rest comes: in pieces of which size, after a preface that
is given, to which limits, to a peer that reads or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import gyrfalcon as gyr
from fuzz.choices import Choices, pieces
from fuzz.frames import PREFACE, SETTINGS, Frame, SentFrames
from fuzz.service import Fuzzed
from fuzz.stage import Stage, StageNetwork, WireTransport

PIECES = (1 << 16, 1, 9, 50)
PREFACE_GIVEN, SMALL, STUCK, WAITS, LOST = 4, 8, 16, 32, 64
GIVEN = PREFACE + bytes(Frame(SETTINGS, 0, 0))
SMALL_LIMITS = {
    "max_concurrent_streams": 3,
    "max_receive_bytes": 50,
    "max_metadata_bytes": 1024,
    "stream_window": 65535,
    "connection_window": 65535,
    "max_unread_bytes": 65535,
}
# A message is taken in one piece at most with what came before it.
SLACK = 1 << 16


class Place:
    """A server for all inputs of a process."""

    def __init__(self, stage: Stage, **limits: int) -> None:
        self.stage = stage
        self.service = Fuzzed()
        self.network = StageNetwork(stage)
        options = {"max_concurrent_streams": 20, "max_unread_bytes": 1 << 20} | limits
        self.limits = options
        self.server = gyr.Server([self.service], network=self.network, **options)  # type: ignore[arg-type]
        stage.run(self.start())

    async def start(self) -> None:
        await self.server.listen("192.0.2.1:1")

    async def converse(self, data: Iterable[bytes], options: int) -> None:
        """One connection from its beginning to its end."""
        stage = self.stage
        protocol = self.network.make_protocol()
        transport = WireTransport(stage, protocol, stuck=bool(options & STUCK))
        sent = SentFrames(client=False)
        await stage.call(protocol.connection_made, transport)
        for piece in data:
            await stage.call(transport.receive, piece)
            self.check_bounds(protocol)
            if options & WAITS:
                await stage.turn()
            sent.take(transport.take_sent())
        await stage.turn(2)
        if options & STUCK:
            await stage.call(protocol.resume_writing)
            await stage.turn(2)
        if options & WAITS:
            # Every deadline of a call is over by then, keepalive's and the like are too.
            stage.clock.advance(100.0)
            await stage.turn(3)
        sent.take(transport.take_sent())
        sent.end()
        await stage.call(transport.lose, ConnectionResetError() if options & LOST else None)
        await stage.settle(lambda: protocol not in self.server._drivers, "the connection's calls")
        assert protocol.running_calls == 0
        assert protocol.connection.open_streams == 0
        assert protocol.connection.unread_bytes == 0

    def check_bounds(self, protocol: Any) -> None:
        connection = protocol.connection
        streams = self.limits["max_concurrent_streams"]
        assert protocol.running_calls <= streams
        assert connection.open_streams <= streams
        room = self.limits["max_unread_bytes"]
        assert connection.unread_bytes <= room + SLACK, connection.unread_bytes
        assert connection.unfinished_bytes <= 2 * room + SLACK, connection.unfinished_bytes


@cache
def places() -> tuple[Place, Place]:
    stage = Stage()
    return Place(stage), Place(stage, **SMALL_LIMITS)


def check(data: bytes) -> None:
    choices = Choices(data)
    options = choices.byte()
    place = places()[bool(options & SMALL)]
    sent = pieces(choices.rest(), PIECES[options & 3])
    if options & PREFACE_GIVEN:
        sent.insert(0, GIVEN)
    place.service.seen.clear()
    place.stage.run(place.converse(sent, options))


def seeds() -> Iterable[bytes]:
    from fuzz.record import conversations

    for sides in conversations().values():
        for options in (0, 1, WAITS, SMALL | WAITS, STUCK, LOST):
            yield bytes([options]) + sides.client
