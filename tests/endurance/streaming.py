"""A server and a client for long streams whose consumer is slower than their producer.

The consumer takes no more than `STEP` bytes before a unary call has gone to the server and come
back on the same connection. In that time the producer, which never waits for anything but room,
runs as far ahead as it is let. The client says when the consumer goes on, wherever that is: it
takes the replies itself, or gives the handler leave to take requests.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub
from tests.endurance.memory import MIB, Peak
from tests.endurance.programs import run, say, stdin_ends

STEP = MIB
# The consumer has stopped and the producer is stuck: so many calls in a row saw neither go on.
STILL_CALLS = 1000


class Producer:
    """Messages that say which they are, each an object of its own."""

    def __init__(self, size: int, count: int) -> None:
        self.size = size
        self.count = count
        self.made = 0

    def __iter__(self) -> Iterator[BytesValue]:
        filler = bytes(self.size - 8)
        for number in range(self.count):
            self.made += 1
            yield BytesValue(value=number.to_bytes(8, "big") + filler)

    async def each(self) -> AsyncIterator[BytesValue]:
        for message in self:
            yield message


class Consumer:
    """Counts the messages and looks that each is the next, whole."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def take(self, message: BytesValue) -> None:
        number = int.from_bytes(message.value[:8], "big")
        if (number, len(message.value)) != (self.taken, self.size):
            raise ValueError(f"message {self.taken}: got number {number}, {len(message.value)} B")
        self.taken += 1


class Leave:
    """Leave to take messages, for a handler on the loop and for one in a thread."""

    def __init__(self) -> None:
        self.for_thread = threading.Semaphore(0)
        self.for_loop = asyncio.Semaphore(0)

    def give(self, messages: int) -> None:
        for _ in range(messages):
            self.for_loop.release()
        if messages:
            self.for_thread.release(messages)


# ---------------------------------------------------------------------- server


class Server:
    """The handlers, and what the unary call of the client tells and asks them."""

    def __init__(self) -> None:
        self.begin({"size": 0, "count": 0})

    def begin(self, order: dict[str, Any]) -> None:
        self.producer = Producer(order["size"], order["count"])
        self.consumer = Consumer(order["size"])
        self.leave = Leave()
        self.peak = Peak()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        order = json.loads(request.value)
        if "count" in order:
            self.begin(order)
        self.leave.give(order.get("leave", 0))
        report = {
            "made": self.producer.made,
            "taken": self.consumer.taken,
            "growth": self.peak.growth(),
        }
        return BytesValue(value=json.dumps(report).encode())


class OnLoop(Server):
    """`async def` handlers."""

    async def server_stream(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for message in self.producer.each():
            yield message

    async def client_stream(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        await self.leave.for_loop.acquire()
        async for message in requests:
            self.consumer.take(message)
            await self.leave.for_loop.acquire()
        return BytesValue()

    async def bidi(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for message in requests:
            yield message


class InThreads(Server):
    """`def` handlers."""

    def server_stream(self, request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        yield from self.producer

    def client_stream(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        self.leave.for_thread.acquire()
        for message in requests:
            self.consumer.take(message)
            self.leave.for_thread.acquire()
        return BytesValue()

    def bidi(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> Iterator[BytesValue]:
        yield from requests


async def serve(handlers: Server, limit: int) -> None:
    names = ("unary", "server_stream", "client_stream", "bidi")
    service = Calls(**{name: getattr(handlers, name) for name in names})
    async with gyr.Server([service], max_receive_bytes=limit) as server:
        say(await server.listen("127.0.0.1:0"))
        await stdin_ends()


# ---------------------------------------------------------------------- client


class Client:
    """One stream: how much goes through it, and what was seen of it."""

    def __init__(self, stub: Stub, size: int, total: int) -> None:
        self.stub = stub
        self.count = total // size
        self.step = max(STEP // size, 1)
        self.size = size
        self.producer = Producer(size, self.count)
        self.consumer = Consumer(size)
        self.most_ahead = 0

    async def ask(self, **order: int) -> dict[str, int]:
        reply = await self.stub.unary(BytesValue(value=json.dumps(order).encode()))
        answer: dict[str, int] = json.loads(reply.value)
        return answer

    async def ahead(self, **order: int) -> tuple[int, int]:
        """How many messages have been made, and how many of them the consumer has not taken."""
        server = await self.ask(**order)
        made = self.producer.made + server["made"]
        taken = self.consumer.taken + server["taken"]
        self.most_ahead = max(self.most_ahead, made - taken)
        return made, made - taken

    async def stop_for_a_while(self) -> int:
        """Take nothing until the producer gets no further; how far ahead it is then."""
        # Not the distance alone: that stands still too while both go at one pace.
        seen = await self.ahead()
        still = 0
        while still < STILL_CALLS:
            now = await self.ahead()
            still = still + 1 if now == seen else 0
            seen = now
        return seen[1]

    async def pace(self, taken: int) -> None:
        """Let the producer run ahead; halfway, for as long as it does."""
        if taken == self.count // 2 // self.step * self.step:
            self.stuck_at = await self.stop_for_a_while()
        elif taken % self.step == 0:
            await self.ahead()

    async def take_all(self, replies: AsyncIterator[BytesValue]) -> None:
        async for message in replies:
            self.consumer.take(message)
            await self.pace(self.consumer.taken)

    async def download(self) -> None:
        await self.take_all(self.stub.server_stream(BytesValue()))

    async def upload(self) -> None:
        call = self.stub.client_stream(self.producer.each())
        for given in range(self.step, self.count + 1, self.step):
            await self.ahead(leave=self.step)
            await self.pace(given)
        await self.ask(leave=1)  # to see the end
        await call

    async def chat(self) -> None:
        await self.take_all(self.stub.bidi(self.producer))

    async def run(self, scenario: Callable[[], Awaitable[None]]) -> dict[str, int]:
        await self.ask(size=self.size, count=self.count)
        peak = Peak()
        await scenario()
        server = await self.ask()
        return {
            "taken": self.consumer.taken + server["taken"],
            "most_ahead": self.most_ahead * self.size,
            "stuck_at": self.stuck_at * self.size,
            "client_growth": peak.growth(),
            "server_growth": server["growth"],
        }


async def call(target: str, scenario: str, size: int, total: int, limit: int) -> None:
    async with gyr.Channel(target, max_receive_bytes=limit) as channel:
        client = Client(Stub(channel), size, total)
        say(await client.run(getattr(client, scenario)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("serve", "call"))
    parser.add_argument("loop")
    parser.add_argument("--limit", type=int, default=4 * MIB, help="max_receive_bytes")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--port", type=int)
    parser.add_argument("--scenario")
    parser.add_argument("--size", type=int)
    parser.add_argument("--total", type=int)
    options = parser.parse_args()
    if options.verb == "serve":
        run(serve(InThreads() if options.threads else OnLoop(), options.limit), options.loop)
    else:
        target = f"127.0.0.1:{options.port}"
        work = (options.scenario, options.size, options.total, options.limit)
        run(call(target, *work), options.loop)


if __name__ == "__main__":
    main()
