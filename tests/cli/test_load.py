"""The load generator: what latency means, what it bounds, what it does when calls fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import gyrfalcon as gyr
from gyrfalcon.cli.latencies import Latencies
from gyrfalcon.cli.load import Load, Tally, Until

pytestmark = pytest.mark.anyio

MS = 1_000_000


class Clock:
    """Time in nanoseconds that passes while somebody sleeps, and when it is told to."""

    def __init__(self) -> None:
        self.now = 5 * MS
        self.slept: list[float] = []

    def read(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        # A turn of the loop is 1 µs.
        self.now += max(round(seconds * 1e9), 1000)


class Listed(Latencies):
    """Keeps every latency, in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.list: list[int] = []

    def record(self, latency: int) -> None:
        super().record(latency)
        self.list.append(round(latency / MS))


Call = Callable[[int], Awaitable[None]]


def make_load(clock: Clock, call: Call) -> Load:
    async def caller(number: int, tally: Tally) -> None:
        await call(number)

    return Load([caller], clock.read, clock.sleep)


async def test_with_a_rate_latency_counts_from_the_intended_start() -> None:
    clock, latencies = Clock(), Listed()

    async def call(number: int) -> None:
        if number == 0:
            clock.now += 10 * MS  # nothing else happens meanwhile

    await make_load(clock, call).keep_rate(1000.0, 100, Until(calls=5), Tally(latencies))
    # They were meant to begin 1, 2, 3 and 4 ms after the first, and began after 10.
    assert latencies.list == [10, 9, 8, 7, 6]


async def test_without_a_rate_it_counts_from_the_start() -> None:
    clock, latencies = Clock(), Listed()

    async def call(number: int) -> None:
        clock.now += (10 if number == 0 else 1) * MS

    await make_load(clock, call).keep_busy(1, Until(calls=5), Tally(latencies))
    assert latencies.list == [10, 1, 1, 1, 1]


async def test_with_a_rate_calls_begin_on_time() -> None:
    clock = Clock()
    begun: list[int] = []

    async def call(number: int) -> None:
        begun.append(round((clock.now / MS) - 5))

    tally = Tally()
    await make_load(clock, call).keep_rate(100.0, 100, Until(seconds=0.05), tally)
    assert begun == [0, 10, 20, 30, 40]
    assert round(tally.seconds * 1000) == 40


@pytest.mark.parametrize("rate", [None, 1e9])
async def test_calls_in_flight_are_bounded(rate: float | None) -> None:
    clock = Clock()
    running, most = 0, 0

    async def call(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10):
            await asyncio.sleep(0)
        running -= 1

    load, tally = make_load(clock, call), Tally()
    if rate is None:
        await load.keep_busy(3, Until(calls=20), tally)
    else:
        await load.keep_rate(rate, 3, Until(calls=20), tally)
    assert (most, tally.calls, tally.ok) == (3, 20, 20)


async def test_a_closed_loop_ends_with_its_time() -> None:
    clock, tally = Clock(), Tally()

    async def call(number: int) -> None:
        clock.now += 30 * MS

    await make_load(clock, call).keep_busy(1, Until(seconds=0.1), tally)
    assert (tally.calls, tally.seconds) == (4, 0.12)


@pytest.mark.parametrize(
    ("error", "pause"), [(gyr.Unavailable("gone"), 0.01), (gyr.NotFound("gone"), 0)]
)
async def test_a_failed_call_lets_others_run_before_the_next(error: Any, pause: float) -> None:
    clock, tally = Clock(), Tally()

    async def call(number: int) -> None:
        raise error

    await make_load(clock, call).keep_busy(1, Until(calls=3), tally)
    assert clock.slept == [pause] * 3
    assert (tally.statuses, tally.messages) == ({error.code: 3}, {error.code: "gone"})
    assert tally.latencies.count == 0


async def test_when_it_is_behind_it_still_turns_the_loop() -> None:
    clock = Clock()

    async def call(number: int) -> None:
        pass

    load = make_load(clock, call)
    await load.keep_rate(1e9, 10_000, Until(calls=64), Tally())
    assert len(clock.slept) == 64 // 16
