"""Programs of these tests: each a process of its own, so that its memory is its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).parents[2]
LOOPS = ("asyncio", "uvloop")


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", f"tests.endurance.{module}", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(module: str, *arguments: object) -> Iterator[int]:
    """The port of a program that prints it and serves until its standard input ends."""
    with start(module, *arguments) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        assert process.stdout.read() == ""
    assert process.returncode == 0


def report_of(module: str, *arguments: object) -> Any:
    """What a program reports: JSON, the last and only thing it prints."""
    with start(module, *arguments) as process:
        out, _ = process.communicate()
    assert process.returncode == 0, f"{module} {arguments} failed; see its standard error"
    return json.loads(out)


# ---------------------------------------------------------------------- in the programs


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def run(main: Coroutine[Any, Any, None], loop: str) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def count_threads() -> int:
    """Without those in which an event loop resolves names: it starts and keeps them as it likes."""
    return sum(not thread.name.startswith("asyncio") for thread in threading.enumerate())


async def stdin_ends() -> None:
    """Return when standard input ends: whoever started this program wants it to end."""
    ended = asyncio.Event()

    class Ended(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(Ended, sys.stdin)
    try:
        await ended.wait()
    finally:
        transport.close()
