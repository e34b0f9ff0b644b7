"""The loads, for every asyncio peer alike: a peer brings its four calls, this module the loops."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks import payloads
from benchmarks.peers import echo
from benchmarks.protos.bench_pb2 import Chunk, Order, Total, Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from benchmarks.peers.program import Load

BLOCK = 100
"""Calls measured in a row before the echo has its turn; both see the same state of the machine."""


class Caller(Protocol):
    """The four calls of one peer's client."""

    @property
    def buy(self) -> Callable[[Order], Awaitable[Any]]:
        """The unary call: the stub's own method, so that nothing stands between."""
        ...

    async def download(self, wish: Wish) -> int:
        """Receive a stream to its end; the number of messages that came."""
        ...

    async def upload(self, chunk: Chunk, count: int) -> Total:
        """Send `chunk` `count` times."""
        ...

    async def chat(self, chunk: Chunk, turns: Iterator[int]) -> None:
        """On one stream, send the chunk and receive it again, once for every turn."""


class Turns:
    """An iterator that workers share: it goes on for a number of turns, or until stopped."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int) -> None:
        self.taken = 0
        self.limit = limit

    def stop(self) -> None:
        self.limit = self.taken

    def __iter__(self) -> Iterator[int]:
        while self.taken < self.limit:
            self.taken += 1
            yield self.taken


async def drive(caller: Caller, load: Load) -> dict[str, float]:
    """Warm up, then measure.

    Returns ``n`` (calls, messages or exchanges) and ``seconds``, or for the latency load the
    medians and 99th percentiles in microseconds. The measured time ends when the last call has
    ended, so every call that is counted is paid for.
    """
    if load.kind == "latency":
        await latencies(caller, load.echo_port, load.warm_up)
        return await latencies(caller, load.echo_port, load.seconds)
    if load.calls:
        return await throughput(caller, load, Turns(load.calls))
    for seconds in (load.warm_up, load.seconds):
        turns = Turns(2**62)
        timer = asyncio.get_running_loop().call_later(seconds, turns.stop)
        result = await throughput(caller, load, turns)
        timer.cancel()
    return result


async def throughput(caller: Caller, load: Load, turns: Turns) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    n = await LOADS[load.kind](caller, load, turns)
    return {
        "n": n,
        "seconds": time.perf_counter() - began,
        "client_cpu": time.process_time() - cpu,
    }


async def unary(caller: Caller, load: Load, turns: Turns) -> int:
    buy, order = caller.buy, payloads.ORDER
    left = iter(turns)

    async def worker() -> None:
        for _ in left:
            await buy(order)

    reply = await buy(order)
    if reply != payloads.RECEIPT:
        raise AssertionError(f"the server answered {reply!r}, expected {payloads.RECEIPT!r}")
    async with asyncio.TaskGroup() as workers:
        for _ in range(load.in_flight):
            workers.create_task(worker())
    return turns.taken


async def download(caller: Caller, load: Load, turns: Turns) -> int:
    wish, n = Wish(count=load.count, size=load.size), 0
    for _ in turns:
        received = await caller.download(wish)
        if received != load.count:
            raise AssertionError(f"{received} of {load.count} messages came")
        n += received
    return n


async def upload(caller: Caller, load: Load, turns: Turns) -> int:
    chunk, n = payloads.chunk(load.size), 0
    expected = Total(count=load.count, size=load.count * load.size)
    for _ in turns:
        total = await caller.upload(chunk, load.count)
        if total != expected:
            raise AssertionError(f"the server counted {total!r}, expected {expected!r}")
        n += load.count
    return n


async def chat(caller: Caller, load: Load, turns: Turns) -> int:
    await caller.chat(payloads.chunk(load.size), iter(turns))
    return turns.taken


LOADS = {"unary": unary, "download": download, "upload": upload, "chat": chat}


async def latencies(caller: Caller, echo_port: int, seconds: float) -> dict[str, float]:
    """One call at a time, in turn with a raw echo of the same bytes on the same kind of loop."""
    buy, order = caller.buy, payloads.ORDER
    clock = time.perf_counter_ns
    calls: list[int] = []
    echoes: list[int] = []
    async with echo.connection(echo_port, payloads.framed(order)) as bounce:
        end = clock() + int(seconds * 1e9)
        while clock() < end:
            echoes += await bounce(BLOCK)
            for _ in range(BLOCK):
                began = clock()
                await buy(order)
                calls.append(clock() - began)
    return summarise(calls, echoes)


def summarise(calls: list[int], echoes: list[int]) -> dict[str, float]:
    """Medians and 99th percentiles, nanoseconds to microseconds."""
    return {
        "n": len(calls),
        "p50": statistics.median(calls) / 1e3,
        "p99": statistics.quantiles(calls, n=100)[98] / 1e3,
        "echo_p50": statistics.median(echoes) / 1e3,
        "echo_p99": statistics.quantiles(echoes, n=100)[98] / 1e3,
    }
