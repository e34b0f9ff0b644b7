"""The processes of a soak: started, told what to do, listened to, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from typing import Any

from tests.endurance.programs import ROOT

# With several arenas malloc fills one after another, by chance, and of all but the first it keeps
# the free end whatever malloc_trim says: a client of threads differed by megabytes so at rest, with
# the same bytes in use.
SETTINGS = {"GRPC_VERBOSITY": "NONE", "MALLOC_ARENA_MAX": "1"}
# Given up on only then, however busy the machine is.
READY_S = 120.0
END_S = 120.0
# Twice the longest deadline.
FOREIGN_REST_S = 40.0


class Process:
    """One server or client. `steady` ones live as long as the soak, and are weighed."""

    def __init__(
        self, name: str, module: str, arguments: list[str], *, steady: bool, ours: bool,
        prefix: list[str] | None = None, environment: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.steady = steady
        self.ours = ours
        self._prefix = prefix or []
        self._environment = environment or {}
        self._command = [sys.executable, "-m", f"tests.endurance.soak.{module}", *arguments]
        self.samples: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        """samples while no call ran"""
        self.end: dict[str, Any] | None = None
        self.status: int | None = None
        self.killed = 0
        self.stuck = 0
        """how often it was ended because a call of it did not"""
        self.crashes: list[int] = []
        """statuses with which it was gone before it was killed"""
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._done = asyncio.Event()
        self._asked = ""
        # Of lives that were ended by force.
        self.past: list[dict[str, Any]] = []

    async def start(self) -> None:
        self._ready = asyncio.Event()
        self._process = await asyncio.create_subprocess_exec(
            *self._prefix, *self._command, cwd=ROOT,
            env={**os.environ, **SETTINGS, **self._environment},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
            # Ctrl-C is for the soak, which then ends its processes in order.
            process_group=0,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        if not await self._heard(self._ready, READY_S):
            raise RuntimeError(f"{self.name} does not start: see its standard error")

    async def _heard(self, event: asyncio.Event, longest: float) -> bool:
        """Whether what is waited for was said, before the process ended or time was over."""
        assert self._reading is not None
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait(
            [waiting, self._reading], timeout=longest, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        return event.is_set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if "sample" in said:
                self.samples.append(said["sample"])
            elif "weight" in said:
                self.weights.append(said["weight"])
            elif "ready" in said:
                self._ready.set()
            elif "done" in said:
                if said["done"] == self._asked:
                    self._done.set()
            elif "end" in said:
                self.end = said["end"]

    def tell(self, what: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{what}\n".encode())

    async def ask(self, what: str, longest: float = END_S) -> bool:
        """Tell it, and wait until it is done: whether it is, or the process is gone, which is found
        at the end."""
        self._asked = what
        self._done.clear()
        self.tell(what)
        assert self._reading is not None
        return await self._heard(self._done, longest) or self._reading.done()

    async def rest(self) -> None:
        """Have it make no call until it is told to resume, when those that run have ended."""
        if await self.ask("rest", END_S if self.ours else FOREIGN_REST_S):
            return
        if self.ours:
            raise RuntimeError(f"{self.name}: a call has not ended {END_S:.0f} s later")
        # It would keep all others from resting, each time. Whether grpcio's calls end is not ours
        # to judge.
        self.stuck += 1
        await self.kill()
        await self.start()
        await self.ask("rest")

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """As a crash: nothing is told to anybody."""
        assert self._process is not None
        assert self._reading is not None
        self.killed += 1
        if self._process.returncode is not None:
            self.crashes.append(self._process.returncode)
        if self.samples:
            self.past.append(self.samples[-1])
        self.signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading

    async def stop(self) -> None:
        """As it should end, and what it reports then."""
        assert self._process is not None
        assert self._reading is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        began = time.monotonic()
        try:
            self.status = await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            # Its stacks go to standard error, for whoever looks into it.
            self.status = -1
            self.stuck += 1
            print(f"{self.name} has not ended after {time.monotonic() - began:.0f} s", flush=True)
            self.signal(signal.SIGABRT)
            await self._process.wait()
        await self._reading
