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
    started: int = 0
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


class Load:
    """One method, called with the same requests again and again over some channels."""

    def __init__(
        self,
        channels: Sequence[gyr.Channel],
        method: gyr.Method[Any, Any],
        requests: Sequence[Any],
        call_options: dict[str, Any],
    ) -> None:
        self._requests = requests
        self._options = call_options
        make = {
            gyr.Pattern.UNARY_UNARY: self._unary,
            gyr.Pattern.UNARY_STREAM: self._server_stream,
            gyr.Pattern.STREAM_UNARY: self._client_stream,
            gyr.Pattern.STREAM_STREAM: self._both_streams,
        }[method.pattern]
        self._callers = [make(channel, method) for channel in channels]

    async def keep_busy(self, concurrency: int, until: Until, tally: Tally) -> None:
        """Keep `concurrency` calls in flight: the next begins when one ends (a closed loop)."""
        numbers = itertools.count() if until.calls is None else iter(range(until.calls))
        began = time.perf_counter_ns()
        end = None if until.seconds is None else began + round(until.seconds * 1e9)

        async def work(call: Caller) -> None:
            for number in numbers:
                now = time.perf_counter_ns()
                if end is not None and now >= end:
                    return
                await self._one(call, number, now, tally)

        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(concurrency):
                    group.create_task(work(self._callers[worker % len(self._callers)]))
        finally:
            tally.seconds = (time.perf_counter_ns() - began) / 1e9

    async def keep_rate(self, rate: float, max_in_flight: int, until: Until, tally: Tally) -> None:
        """Begin `rate` calls a second whatever becomes of them (an open loop).

        Latency counts from the moment that a call was meant to begin, so that a server that stalls,
        or this generator, is charged with the calls that it held up.
        """
        calls = until.calls
        if calls is None:
            calls = max(round(rate * (until.seconds or 0.0)), 1)
        room = asyncio.Semaphore(max_in_flight)
        began = time.perf_counter_ns()

        async def one(call: Caller, number: int, meant: int) -> None:
            try:
                await self._one(call, number, meant, tally)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(calls):
                    meant = began + round(number * 1e9 / rate)
                    await _sleep_until(meant, number)
                    await room.acquire()
                    call = self._callers[number % len(self._callers)]
                    group.create_task(one(call, number, meant))
        finally:
            tally.seconds = (time.perf_counter_ns() - began) / 1e9

    async def _one(self, call: Caller, number: int, began: int, tally: Tally) -> None:
        tally.started += 1
        try:
            await call(number, tally)
        except gyr.RpcError as error:
            tally.statuses[error.code] = tally.statuses.get(error.code, 0) + 1
            tally.messages.setdefault(error.code, error.message)
            unavailable = error.code is gyr.StatusCode.UNAVAILABLE
            await asyncio.sleep(_PAUSE_SECONDS if unavailable else 0)
        else:
            tally.latencies.record(time.perf_counter_ns() - began)
            tally.statuses[gyr.StatusCode.OK] = tally.ok + 1

    # ------------------------------------------------------------------ the four patterns

    def _unary(self, channel: gyr.Channel, method: gyr.Method[Any, Any]) -> Caller:
        stub, requests, options = gyr.UnaryUnary(channel, method), self._requests, self._options

        async def call(number: int, tally: Tally) -> None:
            tally.sent += 1
            await stub(requests[number % len(requests)], **options)
            tally.received += 1

        return call

    def _server_stream(self, channel: gyr.Channel, method: gyr.Method[Any, Any]) -> Caller:
        stub, requests, options = gyr.UnaryStream(channel, method), self._requests, self._options

        async def call(number: int, tally: Tally) -> None:
            tally.sent += 1
            async for _ in stub(requests[number % len(requests)], **options):
                tally.received += 1

        return call

    def _client_stream(self, channel: gyr.Channel, method: gyr.Method[Any, Any]) -> Caller:
        stub, options = gyr.StreamUnary(channel, method), self._options

        async def call(number: int, tally: Tally) -> None:
            await stub(self._each(tally), **options)
            tally.received += 1

        return call

    def _both_streams(self, channel: gyr.Channel, method: gyr.Method[Any, Any]) -> Caller:
        stub, options = gyr.StreamStream(channel, method), self._options

        async def call(number: int, tally: Tally) -> None:
            async for _ in stub(self._each(tally), **options):
                tally.received += 1

        return call

    def _each(self, tally: Tally) -> Iterator[Any]:
        for request in self._requests:
            tally.sent += 1
            yield request


Caller = Callable[[int, Tally], Awaitable[None]]


async def _sleep_until(when: int, number: int) -> None:
    """Return at a time of time.perf_counter_ns(), not a timer's width later."""
    left = (when - time.perf_counter_ns()) / 1e9
    if left <= 0:
        if number % _BURST == 0:
            await asyncio.sleep(0)  # replies have to be read all the same
        return
    if left > _TIMER_SECONDS:
        await asyncio.sleep(left - _TIMER_SECONDS)
    while time.perf_counter_ns() < when:  # noqa: ASYNC110 (nobody could set an event)
        await asyncio.sleep(0)
