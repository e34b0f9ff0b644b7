"""The client that is attacked: a process of its own, so that its memory is its own.

`python -m tests.abuse.victim PORT` calls a good server on PORT all the time that it is attacked:
that is the neighbour, on a channel of its own in the same process. For each line on its standard
input, the port of a bad server and a face, it makes two calls there and prints what came of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.abuse.neighbour import EVERY_S
from tests.abuse.program import Program
from tests.abuse.target import Growth
from tests.blocking.service import BlockingStub
from tests.call.service import SAFETY_NET_S, Stub
from tests.endurance.memory import resident_bytes

REQUEST = BytesValue(value=b"hello")


@dataclass
class Outcome:
    """Two calls to a server that answers the first one badly."""

    code: gyr.StatusCode = gyr.StatusCode.UNKNOWN
    """How the first one ended."""
    reply: str = ""
    """What the second one got."""
    limits: dict[str, int] = field(default_factory=dict)
    growth: int = 0
    """Bytes of resident memory, at the peak."""
    left: int = 0
    """Bytes of it when the channel was closed."""
    took: list[float] = field(default_factory=list)
    """Seconds that each of the neighbour's calls took, all of them good."""


async def call_twice(target: str, outcome: Outcome) -> None:
    async with gyr.Channel(target) as channel:
        unary = Stub(channel).unary
        outcome.code = gyr.StatusCode.OK
        try:
            await unary(REQUEST, timeout=SAFETY_NET_S)
        except gyr.RpcError as error:
            outcome.code = error.code
        try:
            reply = await unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        except gyr.Unavailable:
            # The first ended before its connection did, and this one was on it.
            reply = await unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        outcome.reply = reply.value.decode()
        outcome.limits = dict(channel.stats().limits)


def call_twice_blocking(target: str, outcome: Outcome) -> None:
    with gyr.blocking.Channel(target) as channel:
        unary = BlockingStub(channel).unary
        outcome.code = gyr.StatusCode.OK
        try:
            unary(REQUEST, timeout=SAFETY_NET_S)
        except gyr.RpcError as error:
            outcome.code = error.code
        try:
            reply = unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        except gyr.Unavailable:
            reply = unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        outcome.reply = reply.value.decode()
        outcome.limits = dict(channel.stats().limits)


async def beside(target: str, good: str, outcome: Outcome) -> None:
    """The two calls, while a neighbour of the same loop calls."""
    took = outcome.took
    async with gyr.Channel(good) as channel:
        unary = Stub(channel).unary
        await unary(REQUEST, timeout=SAFETY_NET_S)
        attacked = asyncio.create_task(call_twice(target, outcome))
        while True:
            begun = time.monotonic()
            await unary(REQUEST, timeout=SAFETY_NET_S)
            took.append(time.monotonic() - begun)
            if (await asyncio.wait([attacked], timeout=EVERY_S))[0]:
                break
        await attacked


def beside_blocking(target: str, good: str, outcome: Outcome) -> None:
    """The same with threads."""
    took = outcome.took
    over = threading.Event()

    def attacked() -> None:
        try:
            call_twice_blocking(target, outcome)
        finally:
            over.set()

    with gyr.blocking.Channel(good) as channel:
        unary = BlockingStub(channel).unary
        unary(REQUEST, timeout=SAFETY_NET_S)
        thread = threading.Thread(target=attacked)
        thread.start()
        while True:
            begun = time.monotonic()
            unary(REQUEST, timeout=SAFETY_NET_S)
            took.append(time.monotonic() - begun)
            if over.wait(EVERY_S):
                break
        thread.join()


FACES: dict[str, Callable[[str, str, Outcome], None]] = {
    "asyncio": lambda target, good, outcome: asyncio.run(beside(target, good, outcome)),
    "blocking": beside_blocking,
}


def serve(good: str) -> None:
    """In the process: one attack for each line."""
    for line in sys.stdin:
        port, face = line.split()
        outcome = Outcome()
        peak = Growth()
        FACES[face](f"127.0.0.1:{port}", good, outcome)
        outcome.growth = peak.growth()
        outcome.left = resident_bytes() - peak.before
        print(json.dumps(asdict(outcome)), flush=True)


class Victim(Program):
    """The running process, as tests see it."""

    def __init__(self, good_port: int) -> None:
        super().__init__("tests.abuse.victim", str(good_port))

    def call(self, port: int, face: str) -> Outcome:
        found = self.ask(f"{port} {face}")
        return Outcome(**{**found, "code": gyr.StatusCode(found["code"])})


if __name__ == "__main__":
    serve(f"127.0.0.1:{sys.argv[1]}")
