"""The thread that runs the done-callbacks of blocking calls and futures.

A callback may block, and may make calls of its own: so neither a thread that waits for something
else nor the janitor runs it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("gyrfalcon.blocking")

# The thread ends when it had nothing to do for so long.
_IDLE_S = 5.0


class Callbacks:
    """Runs callbacks in one thread, in order. One object serves the process."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        # Reentrant: see `submit`.
        self._lock = threading.RLock()
        self._ready = threading.Condition(self._lock)
        self._queue: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._thread: threading.Thread | None = None
        self._ending = False

    def submit(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Run `callback(*arguments)` soon; from any thread, also from a finalizer."""
        with self._lock:
            self._queue.append((callback, arguments))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="gyrfalcon-callbacks", daemon=True
                )
                self._thread.start()
            else:
                self._ready.notify()

    def finish(self) -> None:
        """Wait until what was submitted has run and the thread has ended."""
        with self._lock:
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return
            self._ending = True
            self._ready.notify()
        thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue:
                    if self._ending or not self._ready.wait(_IDLE_S):
                        if self._queue:
                            break
                        self._thread = None
                        self._ending = False
                        return
                callback, arguments = self._queue.popleft()
            try:
                callback(*arguments)
            except Exception:
                log.exception("a done-callback failed: %r", callback)
            del callback, arguments


CALLBACKS = Callbacks()
os.register_at_fork(after_in_child=CALLBACKS._reset)
