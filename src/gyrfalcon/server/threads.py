"""`def` handlers: they run in worker threads, and the loop speaks with them here.

Only these functions know both sides. Each says on which side it runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

# What a thread may be ahead of the loop: so many replies, or so many bytes of them.
_AHEAD = 64
_AHEAD_BYTES = 64 * 1024


async def run_unary_in_thread(call: Any, request: Any) -> Any:
    """Run the handler of a call with one reply (loop side)."""
    reply = await _finish(call._submit(call._call_function, request, call))
    if hasattr(reply, "__await__"):
        # A `def` that hands on what an `async def` returned.
        reply = await reply
    return reply


async def run_stream_in_thread(call: Any, request: Any) -> AsyncIterator[Any]:
    """Run the handler of a call with many replies and yield them packed (loop side)."""
    handover = _Handover(call._call_loop)
    running = call._submit(_produce, handover, call._call_function, request, call)
    try:
        while True:
            replies = await handover.take()
            for reply in replies:
                yield reply
            if not replies:
                break
        await _finish(running)
    finally:
        handover.close()
        if not running.done() and not running.cancel():
            waiting = asyncio.wrap_future(running)
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                # The call is over: how its handler ended is nobody's business any more.
                waiting.exception()


async def _finish(running: Future[Any]) -> Any:
    """The result of what runs in a thread (loop side).

    A thread cannot be interrupted: when the call is cancelled, its handler counts until it returns.
    """
    waiting = asyncio.wrap_future(running)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        if not running.cancel():
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                waiting.exception()
        raise


def _produce(
    handover: _Handover, function: Callable[[Any, Any], Iterable[Any]], request: Any, call: Any
) -> None:
    """Run the generator of a handler (thread side)."""
    try:
        replies: Iterator[Any] = iter(function(request, call))
        for reply in replies:
            if not handover.put(*call._pack(reply)):
                close = getattr(replies, "close", None)
                if close is not None:
                    close()
                return
    finally:
        handover.end()


class _Handover:
    """A bounded queue from one thread to one loop, with one wake-up for all that is in it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._condition = threading.Condition()
        self._replies: deque[Any] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._notified = False
        self._ended = False
        self._closed = False

    def put(self, reply: Any, size: int) -> bool:
        """Hand one reply over, packed, of so many bytes; wait while the loop is behind.
        False: nobody wants more."""
        with self._condition:
            self._condition.wait_for(self._has_room)
            if self._closed:
                return False
            self._replies.append(reply)
            self._size += size
            self._notify()
            return True

    def _has_room(self) -> bool:
        return self._closed or (len(self._replies) < _AHEAD and self._size < _AHEAD_BYTES)

    def end(self) -> None:
        """There are no more replies (thread side)."""
        with self._condition:
            self._ended = True
            self._notify()

    def _notify(self) -> None:
        if not self._notified and not self._closed:
            self._notified = True
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> list[Any]:
        """All replies that are here, waiting for the first; empty at the end (loop side)."""
        while True:
            with self._condition:
                self._notified = False
                if self._replies or self._ended:
                    replies = list(self._replies)
                    self._replies.clear()
                    self._size = 0
                    self._condition.notify()
                    return replies
                self._waiter = self._loop.create_future()
            await self._waiter

    def close(self) -> None:
        """Nobody wants more (loop side)."""
        with self._condition:
            self._closed = True
            self._condition.notify()
