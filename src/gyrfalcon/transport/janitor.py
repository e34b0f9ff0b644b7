"""The janitor: one thread that keeps the loops of blocking channels while nobody waits on them.

It answers the server's PING and GOAWAY, keeps timers, and reads for calls that no thread waits for:
those of futures and completion queues. It ends with the last channel.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time
import weakref
from collections import deque

from .blocking import SharedLoop
from .callbacks import CALLBACKS, INTERCEPTORS

log = logging.getLogger("gyrfalcon.transport")

# A loop is left to itself for so long after its last thread has gone: threads that make one call
# after another would hand it to the janitor and take it back each time.
PATIENCE_S = 0.05
# Interceptors that still run when the last channel was closed have so long to end.
LAST_INTERCEPTORS_S = 1.0


class Janitor:
    """Keeps loops. One object serves the process."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        # Reentrant: a finalizer that runs while it is held may send mail. Never held by a thread
        # that waits for a loop.
        self.lock = threading.RLock()
        self._mail: deque[SharedLoop] = deque()
        self._loops: set[SharedLoop] = set()
        self._known: weakref.WeakSet[SharedLoop] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._pipe: tuple[int, int] | None = None

    def make_loop(self) -> SharedLoop:
        """A new loop in its care."""
        loop = SharedLoop(self)
        self._known.add(loop)
        return loop

    def look_at(self, loop: SharedLoop) -> None:
        """Something about the loop may be for the janitor; from any thread, inside or not."""
        with self.lock:
            self._mail.append(loop)
            if self._thread is None:
                self._start()
            self.wake()

    def wake(self) -> None:
        """Have it look at its loops anew."""
        with self.lock:
            if self._pipe is not None:
                # Full: it will wake up for what is in there.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._pipe[1], b"!")

    def join(self) -> None:
        """Wait until the thread has ended, if no loop is left for it."""
        with self.lock:
            thread = self._thread
            if any(not loop.is_closed() for loop in self._known):
                return
        if not INTERCEPTORS.finish(LAST_INTERCEPTORS_S):
            log.warning(
                "interceptors of blocking channels still run %g s after the last channel was"
                " closed; they are left behind",
                LAST_INTERCEPTORS_S,
            )
        CALLBACKS.finish()
        if thread is not None and thread is not threading.current_thread():
            self.wake()
            thread.join()

    def _start(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._pipe = reader, writer
        self._thread = threading.Thread(target=self._run, name="gyrfalcon-janitor", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        assert self._pipe is not None
        while True:
            try:
                if not self._round(self._pipe[0]):
                    return
            except Exception:
                log.exception("the janitor of the blocking channels failed; it goes on")

    def _round(self, wake: int) -> bool:
        """Look at all loops, then wait for one of them; False: nobody needs the janitor now."""
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        owners: dict[int, SharedLoop] = {}
        first = self._plan(poller, owners)
        if not self._loops and self._end():
            return False
        timeout = None if first < 0 else max(first - time.monotonic(), 0.0) * 1e3 + 0.999
        ready = poller.poll(timeout)
        for loop in {owners[fd] for fd, _ in ready if fd != wake}:
            loop.serve()
        if any(fd == wake for fd, _ in ready):
            os.read(wake, 4096)
        return True

    def _plan(self, poller: select.poll, owners: dict[int, SharedLoop]) -> float:
        """Register what is to be polled; when to look again at the latest, -1 for never."""
        while self._mail:
            self._loops.add(self._mail.popleft())
        first = -1.0
        for loop in list(self._loops):
            plan = loop.plan(time.monotonic(), PATIENCE_S)
            if plan is None:
                self._loops.discard(loop)
                continue
            descriptors, when = plan
            for descriptor, events in descriptors:
                poller.register(descriptor, events)
                owners[descriptor] = loop
            if when >= 0 and (first < 0 or when < first):
                first = when
        return first

    def _end(self) -> bool:
        """End the thread if no channel is open and no mail came."""
        with self.lock:
            if self._mail or any(not loop.is_closed() for loop in self._known):
                return False
            pipe, self._pipe, self._thread = self._pipe, None, None
            assert pipe is not None
            for descriptor in pipe:
                os.close(descriptor)
            return True

    # ------------------------------------------------------------------ fork

    def _forked(self) -> None:
        """In the child of a fork: no thread of the parent's is here, and its connections go on
        there. The child's channels make loops of their own."""
        pipe = self._pipe
        if pipe is not None:
            for descriptor in pipe:
                os.close(descriptor)
        known = list(self._known)
        self._reset()
        for loop in known:
            loop.abandon()


JANITOR = Janitor()
os.register_at_fork(after_in_child=JANITOR._forked)
