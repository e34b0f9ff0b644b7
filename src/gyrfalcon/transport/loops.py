"""Event loops: uvloop where it is installed, loops in threads of their own, and the way to them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes new loops: uvloop's, or None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def freeze_heap() -> None:
    """Let the garbage collector leave what there is now alone; for processes that serve from here
    on.

    A full collection stops the process for as long as its heap is large: 15 ms for what a server
    has imported (CPython 3.11). Calls make objects that last, so that there are such collections
    all the time.
    """
    gc.collect()
    gc.freeze()


def run_in_new_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main)


class OfLoop(threading.local, Generic[T]):
    """What each loop has one of: in each thread that of the loop which runs there, or ran last."""

    def __init__(self) -> None:
        self._pair: tuple[weakref.ref[Any], T] | None = None

    def get(self, loop: Any, make: Callable[[], T]) -> T:
        """That of a loop, in the loop's thread; made where there is none yet."""
        if self._pair is None or self._pair[0]() is not loop:
            self._pair = weakref.ref(loop), make()
        return self._pair[1]


class LoopThread:
    """An event loop in a thread of its own, for threads that block.

    It runs from `start` until `end`, once. The thread is a daemon: it does not keep a program
    alive whose other threads have ended.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # Reentrant: a signal handler may end what its own thread is about to use.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ending = False
        self.inbox: Inbox | None = None
        """The loop's inbox, once it was started."""

    @property
    def started(self) -> bool:
        """Whether it was started (and may have ended since)."""
        return self._thread is not None

    @property
    def here(self) -> bool:
        """Whether the calling thread is the loop's."""
        return self._thread is threading.current_thread()

    def start(self) -> None:
        """Start the loop; no effect when it runs already. Raises what making a loop or a thread
        raises, RuntimeError when it has ended."""
        with self._lock:
            if self._ending:
                raise RuntimeError(f"the loop thread {self._name!r} has ended; make a new one")
            if self._thread is not None:
                return
            loop = (loop_factory() or asyncio.new_event_loop)()
            thread = threading.Thread(target=_run, args=(loop,), name=self._name, daemon=True)
            try:
                thread.start()
            except BaseException:
                loop.close()
                raise
            self.inbox = Inbox(loop)
            self._loop = loop
            self._thread = thread

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, in a copy of the caller's context: a concurrent future.

        From any thread. Raises RuntimeError when the loop does not run. What still runs when the
        loop ends is cancelled.
        """
        with self._lock:
            if self._loop is None or self._ending:
                coroutine.close()
                state = "has ended" if self._ending else "was not started"
                raise RuntimeError(f"the loop thread {self._name!r} {state}")
            try:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except BaseException:
                coroutine.close()
                raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for what it returns or raises.

        Raises RuntimeError on the loop's own thread, where it would wait for itself. Whatever
        interrupts the wait cancels the coroutine.
        """
        if self.here:
            coroutine.close()
            raise RuntimeError(f"the loop thread {self._name!r} would wait for itself")
        future = self.submit(coroutine)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """Let the loop end: what was submitted before starts, and what runs is cancelled.

        From any thread, the loop's own too. Returns at once; `join` waits.
        """
        with self._lock:
            if self._loop is not None and not self._ending:
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._ending = True

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended, for at most `timeout` seconds; whether it has."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """`end`, and wait until the thread has ended."""
        self.end()
        self.join()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        try:
            _cancel_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            # Does not wait for threads of the loop's own executor (asyncio.Runner does): one of
            # them may be the one that waits for this loop to end.
            loop.close()


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for task in tasks:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "a task failed while its loop ended",
                    "exception": task.exception(),
                    "task": task,
                }
            )


class Inbox:
    """Functions that other threads want called on a loop, with one wake-up for all that wait.

    They are called in order. After `close` they are called at once, by whoever puts them.
    """

    # No locks: `put` may be called by a finalizer, in the midst of any of this.

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._closed = False

    def put(self, function: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Have a function called on the loop (any thread)."""
        self._waiting.append((function, arguments))
        if self._closed:
            self._call()
        elif not self._woken:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                # The loop is closed: nothing runs there any more that could be disturbed.
                self._closed = True
                self._call()

    def _wake(self) -> None:
        # First: what is put from here on wakes the loop again.
        self._woken = False
        self._call()

    def _call(self) -> None:
        # No more than are here now, so that a thread that goes on putting cannot hold the loop.
        for _ in range(len(self._waiting)):
            try:
                function, arguments = self._waiting.popleft()
            except IndexError:
                return  # another thread was faster, after the end
            try:
                function(*arguments)
            except Exception as error:
                self.loop.call_exception_handler(
                    {"message": f"{function!r} failed", "exception": error}
                )

    def close(self) -> None:
        """Call what waits, and from now on what is put, at once (on the loop, as its last)."""
        self._closed = True
        self._call()
