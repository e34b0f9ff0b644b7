"""Fixtures of every test: the two event loops, and the check that a test leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.certificates import Certificates

# A closed transport lets go of its socket, and a cancelled task ends, some turns of the loop later.
SETTLING_TURNS = 10
# Given up on only then: a thread that was told to end is waited for, not looked at in passing.
THREAD_END_S = 10.0
# grpcio keeps these for as long as the process lives.
FOREIGN_THREADS = ("_poll_wrapper", "channel_spin")
# grpcio's core closes its sockets on threads of its own, when nobody can await it: they are not
# looked for in this folder, and in modules that import it.
FOREIGN_SOCKETS = "interop", "grpc"


def in_time(record: logging.LogRecord) -> bool:
    """Not what asyncio's debug mode (`python -X dev`) says of callbacks that took long: a busy
    machine is no fault of the code."""
    return not str(record.msg).startswith("Executing %s took")


# Shells have programs that they start in the background ignore it, and so would those that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
logging.getLogger("asyncio").addFilter(in_time)
# No time limit for an example, for the same reason.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Runs every asynchronous test under plain asyncio and under uvloop."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


def open_descriptors() -> dict[tuple[int, int], str]:
    """What is open now: sockets, pipes, files; by descriptor and inode, with its kind."""
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFREG: "file"}
    found = {}
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue  # the descriptor of the listing itself
        # Neither terminals nor epoll and eventfd: a loop that leaks those leaks a socket too.
        kind = kinds.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            found[int(name), status.st_ino] = kind
    return found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server and a client of its own. Nobody changes these files."""
    # Here: this file alone is also used without the folder around it (tests/package).
    from tests.certificates import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session", autouse=True)
def opened_once() -> None:
    """Has uvloop open what it keeps for the process, its pipe for signals, before any test."""
    uvloop.run(asyncio.sleep(0))


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, opened_once: None) -> Iterator[None]:
    """Fails a test that leaves a thread or an open descriptor behind."""
    threads = set(threading.enumerate())
    descriptors = open_descriptors()
    yield
    for thread in set(threading.enumerate()) - threads:
        if not any(name in thread.name for name in FOREIGN_THREADS):
            thread.join(THREAD_END_S)
            assert not thread.is_alive(), f"the test left the thread {thread.name!r}"
    folder, module = FOREIGN_SOCKETS
    if folder in Path(request.path).parts or module in vars(request.module):
        return
    opened = open_descriptors()
    left = {key: kind for key, kind in opened.items() if key not in descriptors}
    assert left == {}, "the test left descriptors (descriptor, inode) open"


def foreign(task: asyncio.Task[Any]) -> bool:
    """Whether anyio's plugin runs fixtures and tests in it, or grpc.aio made it for itself."""
    coroutine = task.get_coro()
    code = getattr(coroutine, "cr_code", None)  # a native coroutine has none
    of_anyio = code is not None and code.co_filename.startswith(os.path.dirname(anyio.__file__))
    # The tasks of a stopped server end when grpcio's core gets round to it, as its sockets do.
    return of_anyio or str(getattr(coroutine, "__module__", "")).startswith("grpc.")


@pytest.fixture
async def no_task_left(anyio_backend: object) -> AsyncIterator[None]:
    """Fails an asynchronous test that leaves a task behind, its fixtures' included."""
    tasks = asyncio.all_tasks()
    yield
    left: set[asyncio.Task[Any]] = set()
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)
        left = {task for task in asyncio.all_tasks() - tasks if not foreign(task)}
        if not left:
            break
    assert [task.get_coro() for task in left] == [], "the test left tasks"


def pytest_itemcollected(item: pytest.Item) -> None:
    # Right after the outer check: set up before a test's own fixtures, so torn down after them.
    names: list[str] = getattr(item, "fixturenames", [])
    if "anyio_backend" in names and "no_task_left" not in names:
        names.insert(names.index("nothing_left") + 1, "no_task_left")
