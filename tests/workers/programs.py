"""Servers with workers, as processes, and how they are asked which worker it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, UNARY, message

ROOT = Path(__file__).parents[2]

# Serves who answered: its pid, worker number and what the file says.
APP = """
import asyncio, gc, logging, os, signal, sys
import gyrfalcon as gyr
from tests.call.service import Calls, message

MARK = "first"

class Who(Calls, gyr.ServerObserver):
    def server_starting(self, server):
        sys.stderr.write(f"starting {gyr.workers.worker_number()}\\n")

    async def unary(self, request, ctx):
        if request.value == b"wait":
            await ctx.send_initial_metadata()
            await asyncio.sleep(0.2)
        if request.value == b"frozen?":
            return message(b"0 0 %d" % gc.get_freeze_count())
        return message(f"{os.getpid()} {gyr.workers.worker_number()} {MARK}".encode())

def make():
    return [Who(), gyr.services.Health()]

# In one piece: several processes write to one pipe.
signal.signal(signal.SIGUSR1, lambda *_: sys.stderr.write(f"heard {os.getpid()}\\n"))
"""
RUN = """
if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="%(name)s: %(message)s")
    gyr.Server(make(), grace=20.0).run(sys.argv[1], workers=int(sys.argv[2]))
    print("returned", os.getpid(), file=sys.stderr, flush=True)
"""


class Program:
    """A process with workers, and what it writes."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(one).resolve()) for one in paths if one
        )
        self.process = subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, **options
        )
        self.lines: list[str] = []

    def read_until(self, pattern: str, times: int = 1) -> list[re.Match[str]]:
        """What matched so many times in what it writes from now on."""
        found: list[re.Match[str]] = []
        assert self.process.stderr is not None
        while len(found) < times:
            line = self.process.stderr.readline()
            assert line, f"it ended before it wrote {pattern!r}: {''.join(self.lines)}"
            self.lines.append(line)
            if match := re.search(pattern, line):
                found.append(match)
        return found

    def serving(self, times: int) -> list[int]:
        """The pids of so many workers that begin to serve."""
        return [int(match[1]) for match in self.read_until(r"pid (\d+)\) serves", times)]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end: the exit status; `lines` has all that it wrote."""
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        self.process.stderr.close()
        return self.process.wait()

    def drop(self) -> None:
        """Kill it, if it is there."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.end()


@contextmanager
def program(command: Sequence[str], **options: Any) -> Iterator[Program]:
    started = Program(command, **options)
    try:
        yield started
    finally:
        started.drop()


def write_app(folder: Path, text: str = APP) -> Path:
    path = folder / "who_app.py"
    path.write_text(text, encoding="utf-8")
    return path


def gyr_serve(folder: Path, address: str, *options: str) -> list[str]:
    """The command line that serves the app of a folder."""
    command = [sys.executable, "-m", "gyrfalcon.cli", "serve", "who_app:make"]
    return [*command, "--app-dir", str(folder), "-b", address, *options]


def server_run(folder: Path, address: str, workers: int) -> list[str]:
    """The same with `Server.run`."""
    path = write_app(folder, APP + RUN)
    return [sys.executable, str(path), address, str(workers)]


def ask(target: str, request: bytes = b"") -> tuple[int, int, str]:
    """Who answers on a new connection: pid, worker number, mark."""
    with gyr.blocking.Channel(target) as channel:
        return answer(gyr.blocking.UnaryUnary(channel, UNARY)(message(request), **OPTIONS).value)


def answer(value: bytes) -> tuple[int, int, str]:
    pid, number, mark = value.decode().split()
    return int(pid), int(number), mark


OPTIONS: dict[str, Any] = {"wait_for_ready": True, "timeout": SAFETY_NET_S}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
