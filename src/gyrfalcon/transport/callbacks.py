"""Threads that run what programs give blocking channels, where no thread of theirs is at hand.

It may block, and may make calls of its own: so neither a thread that waits for something else nor
the janitor runs it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("gyrfalcon.blocking")

# A thread ends when it had nothing to do for so long.
_IDLE_S = 5.0
# So many interceptors may wait at once, of calls that no thread waits for.
_MOST_INTERCEPTING = 32


class Helpers:
    """Runs functions, begun in order, in threads that start when they are needed."""

    def __init__(self, name: str, kind: str, most: int) -> None:
        self._name = name
        self._kind = kind
        self._most = most
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        # Reentrant: see `submit`.
        self._lock = threading.RLock()
        self._ready = threading.Condition(self._lock)
        self._queue: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._ending = False

    def submit(self, function: Callable[..., object], *arguments: Any) -> None:
        """Run `function(*arguments)` soon; from any thread, also from a finalizer."""
        with self._lock:
            self._queue.append((function, arguments))
            if len(self._queue) > self._idle and len(self._threads) < self._most:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._threads.add(thread)
                thread.start()
            else:
                self._ready.notify()

    def finish(self, timeout: float | None = None) -> bool:
        """Wait until what was submitted has run and the threads have ended; False when that takes
        longer than `timeout` seconds."""
        with self._lock:
            threads = set(self._threads)
            if not threads or threading.current_thread() in threads:
                return True
            self._ending = True
            self._ready.notify_all()
            ended = self._ready.wait_for(lambda: not threads & self._threads, timeout)
        if ended:
            for thread in threads:
                thread.join()
        return ended

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                while not self._queue:
                    if self._ending or not self._ready.wait(_IDLE_S):
                        if self._queue:
                            break
                        self._idle -= 1
                        self._threads.discard(threading.current_thread())
                        if not self._threads:
                            self._ending = False
                        self._ready.notify_all()
                        return
                self._idle -= 1
                function, arguments = self._queue.popleft()
            try:
                function(*arguments)
            except Exception:
                log.exception("%s failed: %r", self._kind, function)
            del function, arguments


CALLBACKS = Helpers("gyrfalcon-callbacks", "a done-callback", 1)
INTERCEPTORS = Helpers("gyrfalcon-interceptors", "the interceptors of a call", _MOST_INTERCEPTING)
