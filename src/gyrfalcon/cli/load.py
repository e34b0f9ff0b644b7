"""Makes the calls of `gyr bench` and counts how they end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gyrfalcon as gyr

from .latencies import Latencies

# What a timer of the loop may be late by: both loops count in milliseconds.
_TIMER_SECONDS = 0.0015
# A server that is gone refuses calls without a turn of the loop.
_PAUSE_SECONDS = 0.01
# Calls that begin in one turn of the loop when the generator is behind.
_BURST = 16


@dataclass
class Tally:
    """What became of the calls of one phase."""

    latencies: Latencies = field(default_factory=Latencies)
    """Of calls that ended with OK."""
    statuses: dict[gyr.StatusCode, int] = field(default_factory=dict)
    messages: dict[gyr.StatusCode, str] = field(default_factory=dict)
    """The first message of each code but OK."""
    sent: int = 0
    received: int = 0
    seconds: float = 0.0
    """From the first call's beginning to the last one's end."""

    @property
    def calls(self) -> int:
        """Calls that ended."""
        return sum(self.statuses.values())

    @property
    def ok(self) -> int:
        """Calls that ended with OK."""
        return self.statuses.get(gyr.StatusCode.OK, 0)


@dataclass(frozen=True)
class Until:
    """When a phase begins no more calls: after so many, or after so many seconds."""

    calls: int | None = None
    seconds: float | None = None


Caller = Callable[[int, Tally], Awaitable[None]]
"""Makes one call, which has a number, and counts its messages; raises gyr.RpcError."""


class Load:
    """Calls that are made again and again, by `callers` in turn. `clock` gives nanoseconds."""

    def __init__(
        self,
        callers: Sequence[Caller],
        clock: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._callers = callers
        self._clock = clock
        self._sleep = sleep

    async def keep_busy(self, concurrency: int, until: Until, tally: Tally) -> None:
        """Keep `concurrency` calls in flight: the next begins when one ends (a closed loop)."""
        numbers = itertools.count() if until.calls is None else iter(range(until.calls))
        began = self._clock()
        end = None if until.seconds is None else began + round(until.seconds * 1e9)

        async def work(call: Caller) -> None:
            for number in numbers:
                now = self._clock()
                if end is not None and now >= end:
                    return
                await self._one(call, number, now, tally)

        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(concurrency):
                    group.create_task(work(self._callers[worker % len(self._callers)]))
        finally:
            tally.seconds = (self._clock() - began) / 1e9

    async def keep_rate(self, rate: float, max_in_flight: int, until: Until, tally: Tally) -> None:
        """Begin `rate` calls a second whatever becomes of them (an open loop).

        Latency counts from the moment that a call was meant to begin, so that a server that stalls,
        or this generator, is charged with the calls that it held up.
        """
        calls = until.calls
        if calls is None:
            calls = max(round(rate * (until.seconds or 0.0)), 1)
        room = asyncio.Semaphore(max_in_flight)
        began = self._clock()

        async def one(call: Caller, number: int, meant: int) -> None:
            try:
                await self._one(call, number, meant, tally)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(calls):
                    meant = began + round(number * 1e9 / rate)
                    await self._sleep_until(meant, number)
                    await room.acquire()
                    call = self._callers[number % len(self._callers)]
                    group.create_task(one(call, number, meant))
        finally:
            tally.seconds = (self._clock() - began) / 1e9

    async def _one(self, call: Caller, number: int, began: int, tally: Tally) -> None:
        try:
            await call(number, tally)
        except gyr.RpcError as error:
            tally.statuses[error.code] = tally.statuses.get(error.code, 0) + 1
            tally.messages.setdefault(error.code, error.message)
            unavailable = error.code is gyr.StatusCode.UNAVAILABLE
            await self._sleep(_PAUSE_SECONDS if unavailable else 0)
        else:
            tally.latencies.record(self._clock() - began)
            tally.statuses[gyr.StatusCode.OK] = tally.ok + 1

    async def _sleep_until(self, when: int, number: int) -> None:
        """Return at a time of the clock, not a timer's width later."""
        left = (when - self._clock()) / 1e9
        if left <= 0:
            if number % _BURST == 0:
                await self._sleep(0)  # replies have to be read all the same
            return
        if left > _TIMER_SECONDS:
            await self._sleep(left - _TIMER_SECONDS)
        while self._clock() < when:
            await self._sleep(0)


def make_caller(
    channel: gyr.Channel,
    method: gyr.Method[Any, Any],
    requests: Sequence[Any],
    options: dict[str, Any],
) -> Caller:
    """Calls a method over a channel. One with one request takes them in turn, others send all."""
    match method.pattern:
        case gyr.Pattern.UNARY_UNARY:
            return _unary(gyr.UnaryUnary(channel, method), requests, options)
        case gyr.Pattern.UNARY_STREAM:
            return _server_stream(gyr.UnaryStream(channel, method), requests, options)
        case gyr.Pattern.STREAM_UNARY:
            return _client_stream(gyr.StreamUnary(channel, method), requests, options)
        case gyr.Pattern.STREAM_STREAM:
            return _both_streams(gyr.StreamStream(channel, method), requests, options)


def _unary(
    stub: gyr.UnaryUnary[Any, Any], requests: Sequence[Any], options: dict[str, Any]
) -> Caller:
    async def call(number: int, tally: Tally) -> None:
        tally.sent += 1
        await stub(requests[number % len(requests)], **options)
        tally.received += 1

    return call


def _server_stream(
    stub: gyr.UnaryStream[Any, Any], requests: Sequence[Any], options: dict[str, Any]
) -> Caller:
    async def call(number: int, tally: Tally) -> None:
        tally.sent += 1
        async for _ in stub(requests[number % len(requests)], **options):
            tally.received += 1

    return call


def _client_stream(
    stub: gyr.StreamUnary[Any, Any], requests: Sequence[Any], options: dict[str, Any]
) -> Caller:
    async def call(number: int, tally: Tally) -> None:
        await stub(_counted(requests, tally), **options)
        tally.received += 1

    return call


def _both_streams(
    stub: gyr.StreamStream[Any, Any], requests: Sequence[Any], options: dict[str, Any]
) -> Caller:
    async def call(number: int, tally: Tally) -> None:
        async for _ in stub(_counted(requests, tally), **options):
            tally.received += 1

    return call


def _counted(requests: Sequence[Any], tally: Tally) -> Iterator[Any]:
    for request in requests:
        tally.sent += 1
        yield request
