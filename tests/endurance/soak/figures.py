"""What one process of a soak holds, sampled while it works, and what is left of it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import resource
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.endurance.memory import resident_bytes

EVERY_S = 1.0
TAKE_EVERY_S = 0.005
# Threads that loops and grpcio keep as they like, and the one that samples.
FOREIGN = ("asyncio", "uvloop", "_poll_wrapper", "channel_spin", "figures")


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class MallocInfo(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


C_LIBRARY = ctypes.CDLL(None)
MALLINFO: Any = getattr(C_LIBRARY, "mallinfo2", None)
if MALLINFO is not None:
    MALLINFO.restype = MallocInfo


def allocated() -> dict[str, int]:
    """What of the memory is in use: Python's small objects by number, and where glibc tells it, the
    bytes that malloc has handed out and those that it keeps."""
    found = {"objects": sys.getallocatedblocks()}
    if MALLINFO is not None:
        info = MALLINFO()
        found |= {"in_use": info.uordblks + info.hblkhd, "kept": info.fordblks}
    return found


class Complaints(logging.Handler):
    """What was logged as an error: the runtime has none to log, whatever the faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A server without descriptors says so; asyncio says it once a second.
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError) and "accept" in record.getMessage():
            return
        if len(self.texts) < 20:
            self.texts.append(self.format(record))


class Figures:
    """Samples this process once a second, on a thread, and writes each sample as a line of JSON."""

    def __init__(self, counters: Callable[[], dict[str, Any]] = dict) -> None:
        self._counters = counters
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_all, name="figures", daemon=True)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.complaints = Complaints()
        logging.getLogger().addHandler(self.complaints)

    def start(self) -> None:
        self._thread.start()

    def _sample_all(self) -> None:
        while not self._ended.wait(EVERY_S):
            # While a process can open nothing it cannot look at itself either.
            with contextlib.suppress(OSError):
                write({"sample": self.sample()})

    def sample(self) -> dict[str, Any]:
        tasks = 0
        if self.loop is not None:
            # The loop's thread adds to the set meanwhile: it is read again then.
            for _ in range(10):
                try:
                    tasks = len(asyncio.all_tasks(self.loop))
                    break
                except RuntimeError:
                    continue
        return {
            "at": time.monotonic(),
            "memory": resident_bytes(),
            **allocated(),
            "descriptors": descriptors(),
            "threads": threading.active_count(),
            "tasks": tasks,
            **self._counters(),
        }

    def weigh(self) -> None:
        """Write a sample of what is held for good: without garbage, and without what malloc keeps
        free. How much that is follows the most that was ever in use at once, by chance, and is
        several times what a leak would be."""
        gc.collect()
        if hasattr(C_LIBRARY, "malloc_trim"):
            C_LIBRARY.malloc_trim(0)
        write({"weight": self.sample()})

    def finish(self, before: dict[str, str], **more: Any) -> None:
        """Write what is left beside what was there `before`, and the last counters."""
        self._ended.set()
        self._thread.join()
        write({
            "end": {
                **self._counters(),
                **more,
                "left": [what for key, what in holding().items() if before.get(key) != what],
                "complaints": self.complaints.texts,
            }
        })  # fmt: skip


def holding() -> dict[str, str]:
    """What can be left behind, with what it is: descriptors, and threads but those that resolve
    names."""
    gc.collect()
    found = {}
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            status = os.fstat(int(name))
            # Neither terminals nor epoll and eventfd: a loop that leaks those leaks a socket too.
            if stat.S_IFMT(status.st_mode) in (stat.S_IFSOCK, stat.S_IFIFO, stat.S_IFREG):
                found[f"descriptor {name}"] = os.readlink(f"/dev/fd/{name}")
    for thread in threading.enumerate():
        if not thread.name.startswith(FOREIGN):
            found[f"thread {thread.ident}"] = thread.name
    return found


def write(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Descriptors:
    """Takes every descriptor that this process might still open, and gives them back."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._taken: list[int] = []
        self._restored = threading.Event()
        self._thread: threading.Thread | None = None

    def exhaust(self) -> None:
        if self._thread is not None:
            return
        # Not below what is open: poll() takes no more descriptors than the limit allows.
        highest = max(int(name) for name in os.listdir("/dev/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, self._limits[1]))
        self._restored.clear()
        self._thread = threading.Thread(target=self._take, name="figures: descriptors")
        self._thread.start()

    def _take(self) -> None:
        # Again and again: those of connections that break would be free.
        while not self._restored.wait(TAKE_EVERY_S):
            with contextlib.suppress(OSError):
                while True:
                    self._taken.append(os.open(os.devnull, os.O_RDONLY))

    def restore(self) -> None:
        if self._thread is None:
            return
        self._restored.set()
        self._thread.join()
        self._thread = None
        while self._taken:
            os.close(self._taken.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


class Rest:
    """Lets calls begin, or none until it is over: a process is weighed while nothing runs."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._resting = False
        self._running = 0

    def begin(self) -> bool:
        """Whether a call may begin; it has to `end` then."""
        with self._changed:
            if self._resting:
                return False
            self._running += 1
            return True

    def end(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Until it is over."""
        with self._changed:
            self._changed.wait_for(lambda: not self._resting)

    def rest(self) -> None:
        """Let no call begin, and wait until those that run have ended."""
        with self._changed:
            self._resting = True
            self._changed.wait_for(lambda: not self._running)

    def resume(self) -> None:
        with self._changed:
            self._resting = False
            self._changed.notify_all()


def obey(figures: Figures, rest: Rest | None = None) -> None:
    """Do as the lines of standard input say until it ends. Each is answered when it is done."""
    descriptors = Descriptors()
    orders = {
        "exhaust": descriptors.exhaust, "restore": descriptors.restore, "weigh": figures.weigh,
    }  # fmt: skip
    if rest is not None:
        orders |= {"rest": rest.rest, "resume": rest.resume}
    for line in sys.stdin:
        orders[line.strip()]()
        write({"done": line.strip()})
    descriptors.restore()
    if rest is not None:
        rest.resume()
