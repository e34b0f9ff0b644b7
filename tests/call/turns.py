"""What happens in each turn of a loop."""

from __future__ import annotations

import asyncio
from collections import Counter


class Turns:
    """Counts it, from when it is made."""

    def __init__(self) -> None:
        self.turn = 0
        self.counts: Counter[int] = Counter()
        self._tick()

    def _tick(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self._tick)

    def note(self, many: int = 1) -> None:
        self.counts[self.turn] += many

    @property
    def most(self) -> int:
        return max(self.counts.values())
