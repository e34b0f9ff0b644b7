"""The servers of the tour, each a process of its own."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0


class ServerError(Exception):
    """A server that did not start or did not end well."""


@asynccontextmanager
async def running(module: str, *arguments: str) -> AsyncIterator[str]:
    """Runs `python -m MODULE --listen 127.0.0.1:0 …`; the address is what it says it listens on.

    The process is ended, whatever happens. Raises ServerError when it does not listen, or does not
    end with status 0 when it is told to.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "--listen", "127.0.0.1:0", *arguments, cwd=ROOT, stdout=PIPE
    )
    try:
        yield await _address(process, module)
    finally:
        await _end(process)
    if process.returncode != 0:
        raise ServerError(f"{module} ended with status {process.returncode}")


async def _address(process: Process, module: str) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            line = (await process.stdout.readline()).decode()
    except TimeoutError:
        raise ServerError(f"{module} did not listen within {START_SECONDS:g} s") from None
    words = line.split()
    if words[:2] != ["listening", "on"]:
        raise ServerError(f"{module} said {line!r} instead of where it listens")
    return words[2]


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
