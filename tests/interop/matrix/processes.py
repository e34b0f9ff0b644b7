"""Other programs, started, waited for and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop import flags

START_S = 60.0
STOP_S = 15.0
SHOWN = 1500
ENVIRONMENT = {**os.environ, "GRPC_GO_LOG_SEVERITY_LEVEL": "info", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Ended:
    """A program that was run to its end. `status`: None when it was given up."""

    status: int | None
    seconds: float
    output: str
    errors: str

    def tail(self) -> str:
        text = (self.errors.strip() or self.output.strip())[-SHOWN:]
        return f"\n{text}" if text else ""

    def why(self) -> str:
        end = "gave no answer in time" if self.status is None else f"exit status {self.status}"
        return f"{end} after {self.seconds:.1f} s{self.tail()}"


async def run(command: Sequence[str | Path], timeout: float) -> Ended:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=flags.ROOT,
    )
    reading = asyncio.create_task(process.communicate())
    done, _ = await asyncio.wait([reading], timeout=timeout)
    if not done:
        process.kill()
    output, errors = await reading
    return Ended(
        process.returncode if done else None,
        time.monotonic() - began,
        output.decode(errors="replace"),
        errors.decode(errors="replace"),
    )


class NotStarted(Exception):
    """A server did not come up."""


@asynccontextmanager
async def started(command: Sequence[str | Path], ready: re.Pattern[bytes]) -> AsyncIterator[None]:
    """A server, from when it says that it is ready until it has ended."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=ENVIRONMENT,
        cwd=flags.ROOT,
    )
    assert process.stdout is not None
    said: list[bytes] = []
    reading: asyncio.Task[None] | None = None
    try:
        try:
            async with asyncio.timeout(START_S):
                while line := await process.stdout.readline():
                    said.append(line)
                    if ready.search(line):
                        break
                else:
                    text = b"".join(said).decode(errors="replace")
                    raise NotStarted(f"{command[0]} ended:\n{text[-SHOWN:]}")
        except TimeoutError:
            raise NotStarted(f"{command[0]} was not ready within {START_S:.0f} s") from None
        reading = asyncio.create_task(drain(process.stdout))
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if reading is not None:
            await reading


async def drain(stream: asyncio.StreamReader) -> None:
    """So that the program never waits for a reader."""
    while await stream.read(2**16):
        pass
