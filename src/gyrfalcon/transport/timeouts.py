"""Waiting for a bounded time, by a clock that may be any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from .clock import Clock


@asynccontextmanager
async def timeout_at(clock: Clock, when: float) -> AsyncIterator[None]:
    """As `asyncio.timeout_at`, but `when` is on `clock`. Raises TimeoutError."""
    async with asyncio.timeout(None) as scope:
        timer = clock.call_at(asyncio.get_running_loop(), when, _expire, scope)
        try:
            yield
        finally:
            timer.cancel()


def _expire(scope: asyncio.Timeout) -> None:
    scope.reschedule(asyncio.get_running_loop().time())


async def wait(
    clock: Clock,
    awaited: Iterable[asyncio.Future[Any]],
    timeout: float | None = None,
    return_when: str = asyncio.ALL_COMPLETED,
) -> None:
    """As `asyncio.wait`, but `timeout` is seconds on `clock`."""
    if timeout is None:
        await asyncio.wait(list(awaited), return_when=return_when)
        return
    try:
        async with timeout_at(clock, clock.time() + timeout):
            await asyncio.wait(list(awaited), return_when=return_when)
    except TimeoutError:
        pass
