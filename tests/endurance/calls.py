"""Many calls of every kind in one process, and what is left of them.

Four patterns, handlers on the loop and in threads; of every ten calls one is cancelled, one gets
past its deadline, one fails, seven are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.endurance.memory import resident_bytes
from tests.endurance.programs import count_threads, run, say

# Of these the first is spent on what is allocated once, and the last two are traced.
PHASES = (0.2, 0.6, 0.1, 0.1)
IN_FLIGHT = 100
WORKER_THREADS = 16
# So many calls run handlers in threads: one of this many. These are several times dearer.
ONE_IN_THREADS = 4
SOON = 0.005
"""seconds: a deadline for handlers that would never answer"""

GO, WAIT, FAIL = b"go", b"wait", b"fail"
MESSAGES = 3

PATTERNS = {
    "unary": gyr.Pattern.UNARY_UNARY,
    "server_stream": gyr.Pattern.UNARY_STREAM,
    "client_stream": gyr.Pattern.STREAM_UNARY,
    "bidi": gyr.Pattern.STREAM_STREAM,
}


def define(service: str) -> gyr.ServiceDefinition:
    return gyr.ServiceDefinition(
        service,
        tuple(
            gyr.Method(service, name, name, pattern, BytesValue, BytesValue)
            for name, pattern in PATTERNS.items()
        ),
    )


class OnLoopService(gyr.Service):
    __gyr_service__: ClassVar[gyr.ServiceDefinition] = define("tests.Loop")


class InThreadsService(gyr.Service):
    __gyr_service__: ClassVar[gyr.ServiceDefinition] = define("tests.Threads")


# ---------------------------------------------------------------------- handlers that wait


class Gate:
    """One call whose handler waits: the handler says that it began, the client that it is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.begun = asyncio.Event()
        self.over = threading.Event()

    def begin(self) -> None:
        self.loop.call_soon_threadsafe(self.begun.set)


class Gates:
    """The gates by the number that the request carries."""

    def __init__(self) -> None:
        self.gates: dict[int, Gate] = {}

    def open(self, number: int) -> Gate:
        gate = self.gates[number] = Gate(asyncio.get_running_loop())
        return gate

    def close(self, number: int) -> None:
        self.gates.pop(number).over.set()

    def begin(self, request: BytesValue) -> Gate | None:
        """The gate of a request whose handler is to wait; None when its client has gone already."""
        gate = self.gates.get(int(request.value.removeprefix(WAIT)))
        if gate is not None:
            gate.begin()
        return gate


def check(request: BytesValue) -> bool:
    """Whether the handler shall wait; raises if it shall fail."""
    if request.value == FAIL:
        raise gyr.NotFound("there is no such thing", trailing_metadata={"reason": "as told"})
    return request.value.startswith(WAIT)


class OnLoop(OnLoopService):
    """`async def` handlers."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates

    async def wait(self, request: BytesValue) -> None:
        if self.gates.begin(request) is not None:
            await asyncio.Event().wait()

    async def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if check(request):
            await self.wait(request)
        return request

    async def server_stream(
        self, request: BytesValue, ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        for _ in range(MESSAGES):
            yield request
        if check(request):
            await self.wait(request)

    async def client_stream(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        async for request in requests:
            if check(request):
                self.gates.begin(request)
        return BytesValue(value=GO)

    async def bidi(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request
            if check(request):
                self.gates.begin(request)


class InThreads(InThreadsService):
    """`def` handlers."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates

    def wait(self, request: BytesValue) -> None:
        gate = self.gates.begin(request)
        if gate is not None:
            gate.over.wait()

    def unary(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if check(request):
            self.wait(request)
        return request

    def server_stream(self, request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        for _ in range(MESSAGES):
            yield request
        if check(request):
            self.wait(request)

    def client_stream(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> BytesValue:
        for request in requests:
            if check(request):
                self.gates.begin(request)
        return BytesValue(value=GO)

    def bidi(
        self, requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> Iterator[BytesValue]:
        for request in requests:
            yield request
            if check(request):
                self.gates.begin(request)


# ---------------------------------------------------------------------- calls


class Caller:
    """Makes the calls, each kind in turn, and counts how they ended."""

    def __init__(self, channel: gyr.Channel, gates: Gates) -> None:
        self.gates = gates
        self.methods = [
            [self.bind(channel, method) for method in service.__gyr_service__.methods]
            for service in (OnLoop, InThreads)
        ]
        self.outcomes: Counter[str] = Counter()
        self.made = 0

    @staticmethod
    def bind(channel: gyr.Channel, method: gyr.Method[Any, Any]) -> Callable[..., Any]:
        kinds: dict[gyr.Pattern, Callable[..., Any]] = {
            gyr.Pattern.UNARY_UNARY: gyr.UnaryUnary,
            gyr.Pattern.UNARY_STREAM: gyr.UnaryStream,
            gyr.Pattern.STREAM_UNARY: gyr.StreamUnary,
            gyr.Pattern.STREAM_STREAM: gyr.StreamStream,
        }
        multicallable: Callable[..., Any] = kinds[method.pattern](channel, method)
        if method.pattern.client_streaming:
            return lambda text, **options: multicallable(requests(text), **options)
        return lambda text, **options: multicallable(BytesValue(value=text), **options)

    async def make_calls(self, count: int) -> None:
        """So many more, some at once."""
        numbers = iter(range(self.made, self.made + count))
        self.made += count

        async def work() -> None:
            for number in numbers:
                await self.make_call(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())

    async def make_call(self, number: int) -> None:
        rest, pattern = divmod(number, len(PATTERNS))
        rest, end = divmod(rest, 10)
        rest, thread = divmod(rest, ONE_IN_THREADS)
        method = self.methods[thread == 0][pattern]
        try:
            if end == 0:
                await self.cancel(method, number, rest % 3)
            elif end == 1:
                await self.expire(method, number)
            else:
                await finish(method(FAIL if end == 2 else GO))
        except gyr.RpcError as error:
            self.outcomes[error.code.name] += 1
        except asyncio.CancelledError:
            self.outcomes["CANCELLED"] += 1
        else:
            self.outcomes["OK"] += 1

    async def cancel(self, method: Callable[..., Any], number: int, way: int) -> None:
        gate = self.gates.open(number)
        try:
            call = method(WAIT + b"%d" % number)
            if way:
                waiting = asyncio.ensure_future(finish(call))
                # Whichever way it ends, it does not wait for ever.
                waiting.add_done_callback(lambda _: gate.begun.set())
                await gate.begun.wait()
                (call if way == 1 else waiting).cancel()
                await waiting
            else:
                # The request has not been written yet.
                call.cancel()
                await finish(call)
        finally:
            self.gates.close(number)

    async def expire(self, method: Callable[..., Any], number: int) -> None:
        self.gates.open(number)
        try:
            await finish(method(WAIT + b"%d" % number, timeout=SOON))
        finally:
            self.gates.close(number)


async def requests(text: bytes) -> AsyncIterator[BytesValue]:
    for _ in range(MESSAGES - 1):
        yield BytesValue(value=GO)
    yield BytesValue(value=text)
    if text.startswith(WAIT):
        await asyncio.Event().wait()


async def finish(call: Any) -> None:
    """Take all that is answered."""
    if hasattr(call, "__aiter__"):
        async for _ in call:
            pass
    else:
        await call


# ---------------------------------------------------------------------- what is left


class Complaints(logging.Handler):
    """All that was logged at warning or above, by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name}: {record.getMessage()}")


def count_left(server: gyr.Server, channel: gyr.Channel) -> dict[str, int]:
    """Of everything that a call can leave behind, how much there is."""
    servers: list[Any] = list(server._drivers)
    clients: list[Any] = [subchannel.driver for subchannel in channel._subchannels]
    return {
        "handlers": sum(driver.running_calls for driver in servers),
        "streams": sum(driver.connection.open_streams for driver in (*servers, *clients)),
        "unread": sum(driver.connection.unread_bytes for driver in (*servers, *clients)),
        "connections": len(servers) + len(clients),
        "tasks": len(asyncio.all_tasks()),
        "threads": count_threads(),
        "descriptors": len(os.listdir("/dev/fd")),
    }


async def settle(server: gyr.Server, caller: Caller) -> None:
    """Return when the last handler has: a cancelled call does not wait for its handler."""
    while any(driver.running_calls for driver in server._drivers):
        await finish(caller.methods[0][0](GO))
    await asyncio.sleep(0)


def weigh() -> dict[str, int]:
    gc.collect()
    return {
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "resident": resident_bytes(),
        "traced": tracemalloc.get_traced_memory()[0],
    }


async def soak(count: int) -> dict[str, Any]:
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    gates = Gates()
    # uvloop keeps a spare descriptor for accept.
    async with gyr.Server([]) as server:
        await server.listen("127.0.0.1:0")
    before = (count_threads(), len(os.listdir("/dev/fd")), len(asyncio.all_tasks()))
    services = [OnLoop(gates), InThreads(gates)]
    async with gyr.Server(services, max_workers=WORKER_THREADS) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            caller = Caller(channel, gates)
            weights, left = [], []
            for number, phase in enumerate(PHASES):
                if number == len(PHASES) - 2:
                    tracemalloc.start()
                await caller.make_calls(int(count * phase))
                await settle(server, caller)
                weights.append(weigh())
                left.append(count_left(server, channel))
            tracemalloc.stop()
    after = (count_threads(), len(os.listdir("/dev/fd")), len(asyncio.all_tasks()))
    return {
        "made": caller.made,
        "outcomes": dict(caller.outcomes),
        "grown": {name: weights[1][name] - weights[0][name] for name in weights[0]},
        "grown_traced": weights[3]["traced"] - weights[2]["traced"],
        "left": left,
        "gates": len(gates.gates),
        "complaints": complaints.texts,
        "before": before,
        "after": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()

    async def report() -> None:
        say(await soak(options.count))

    run(report(), options.loop)


if __name__ == "__main__":
    main()
