"""What goes wrong in a soak, chosen by chance: each fault begins, lasts a while, and is undone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.endurance.soak.network import Place
from tests.endurance.soak.processes import Process
from tests.endurance.soak.relay import Relay

PAUSE_S = (0.5, 4.0)
"""seconds without a fault, between two"""


class Faults:
    """Runs one fault after another; `log` has when each began, and its name."""

    def __init__(
        self, place: Place, relays: list[Relay], steady: list[Process], victims: list[Process],
        clock_file: Path | None, interrupted: asyncio.Event, between: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._place = place
        self._relays = relays
        self._steady = steady
        self._victims = victims
        self._clock_file = clock_file
        self._interrupted = interrupted
        self._between = between
        self._dice = random.Random()
        self.log: list[tuple[float, str]] = []
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self.kill,
            "reset": self.reset,
            "half-open": self.half_open,
            "delay": self.delay,
            "stand still": self.stand_still,
            "no descriptors": self.no_descriptors,
        }
        if place.in_namespace:
            self.kinds["packet loss"] = self.packet_loss
        if clock_file is not None:
            self.kinds["clock jump"] = self.clock_jump

    async def run(self, until: float) -> None:
        """Each kind once in a shuffled round, then anew, until that time or an interruption."""
        turn: list[str] = []
        while time.monotonic() < until and not self._interrupted.is_set():
            if not turn:
                turn = list(self.kinds)
                self._dice.shuffle(turn)
            name = turn.pop()
            self.log.append((time.monotonic(), name))
            await self.kinds[name]()
            await self.last(*PAUSE_S)
            await self._between()

    async def last(self, shortest: float, longest: float) -> None:
        """So many seconds, by chance; a run that is interrupted undoes the fault at once."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._interrupted.wait(), self._dice.uniform(shortest, longest))

    # ------------------------------------------------------------------ the faults

    async def kill(self) -> None:
        """A server or a client is gone, and comes back."""
        victim = self._dice.choice(self._victims)
        await victim.kill()
        await self.last(0.0, 2.0)
        await victim.start()

    async def reset(self) -> None:
        """The connections to one server break."""
        self._dice.choice(self._relays).reset()

    async def half_open(self) -> None:
        """Nothing arrives any more at one server, and nobody knows; then the connections break."""
        relay = self._dice.choice(self._relays)
        relay.silent = True
        await self.last(0.5, 3.0)
        relay.reset()
        relay.silent = False

    async def delay(self) -> None:
        relay = self._dice.choice(self._relays)
        relay.delay = self._dice.uniform(0.001, 0.05)
        await self.last(1.0, 5.0)
        relay.delay = 0.0

    async def stand_still(self) -> None:
        """A process does not run for a while, as when its machine sleeps: its clock jumps."""
        process = self._dice.choice([*self._steady, *self._victims])
        process.signal(signal.SIGSTOP)
        await self.last(0.5, 3.0)
        process.signal(signal.SIGCONT)

    async def no_descriptors(self) -> None:
        """A server or a client can open nothing more, while its connections break."""
        process = self._dice.choice(self._steady)
        process.tell("exhaust")
        await self.last(0.2, 0.5)
        self._dice.choice(self._relays).reset()
        await self.last(0.5, 2.0)
        process.tell("restore")

    async def packet_loss(self) -> None:
        """Some packets between the relays and the servers are lost, all are late."""
        self._place.lose_packets()
        await self.last(0.5, 8.0)
        self._place.calm()

    async def clock_jump(self) -> None:
        """The wall clock of all processes is wrong by hours, and right again."""
        assert self._clock_file is not None
        for hours in (self._dice.choice((-30, -1, 1, 30)), 0):
            self._clock_file.write_text(f"{hours:+d}h\n")
            await self.last(0.5, 2.0)
