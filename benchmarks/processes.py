"""Programs under measurement: pinned to a core, listened to, and ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_SECONDS = 60.0
"""Time for a server to print its port."""
END_SECONDS = 5.0
"""Time for a server to leave after its standard input has ended; then it is killed."""

CAN_PIN = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1


class ProgramFailed(Exception):
    """A program under measurement ended badly or said nothing; the text has its last words."""


def cores() -> tuple[set[int], set[int]]:
    """The core of the servers and the core of the clients; both are all cores where pinning
    is not possible."""
    if not CAN_PIN:
        everywhere = set(range(os.cpu_count() or 1))
        return everywhere, everywhere
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[1]}


@contextlib.contextmanager
def pinned(to: set[int]) -> Iterator[None]:
    """Processes started in this block run on these cores (affinity is inherited)."""
    if not CAN_PIN:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Program:
    """A running program with a pipe to its standard input, which ends when we do."""

    def __init__(
        self, command: Sequence[str], core: set[int], environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        with pinned(core):
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                text=True,
                bufsize=1,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def line(self, seconds: float = START_SECONDS) -> str:
        """The next line of its output.

        Raises `ProgramFailed` when there is none within `seconds`. For programs that print a line
        and then wait: what is printed at once after it may not be seen by the next call.
        """
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise ProgramFailed(f"{self.name} printed nothing within {seconds} s")
        if not (line := self.process.stdout.readline().strip()):
            self.process.wait(END_SECONDS)
            raise ProgramFailed(f"{self.name} ended: {self.last_words()}")
        return line

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def rest(self, seconds: float, accepted: Sequence[int] = (0,)) -> str:
        """Everything that it still prints until it ends.

        Raises `ProgramFailed` when it does not end within `seconds` or ends with a status that is
        not accepted.
        """
        try:
            output, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise ProgramFailed(f"{self.name} did not end within {seconds} s") from None
        if self.process.returncode not in accepted:
            raise ProgramFailed(f"{self.name} ended: {self.last_words()}")
        return output

    def end(self) -> None:
        """Close its input, give it time to leave, then kill it and all that it has started."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.errors.close()

    @property
    def name(self) -> str:
        return " ".join(Path(word).name for word in self.command)

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace").strip()
        return f"status {self.process.returncode}; {text[-2000:] or 'nothing on standard error'}"

    def resident_bytes(self) -> int:
        """Resident memory of the program and the processes that it has started (Linux)."""
        return sum(resident_bytes(pid) for pid in descendants(self.process.pid))


def run(
    command: Sequence[str],
    core: set[int],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed; raises `ProgramFailed`."""
    with Program(command, core, environment) as program:
        return program.rest(seconds)


def descendants(pid: int) -> Iterator[int]:
    """The process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProgramFailed(f"process {pid} has no resident memory: has it ended?")


def allow_many_files() -> None:
    """Raise the limit of open files, which programs inherit: 1,000 connections are a scenario."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that every program is ended."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, leave)


def leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)
