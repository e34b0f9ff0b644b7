import asyncio
from collections.abc import Callable
from typing import Final, Protocol, TypeVarTuple

from typing_extensions import disjoint_base

_Ts = TypeVarTuple("_Ts")

class _Timer(Protocol):
    def cancel(self) -> None: ...

@disjoint_base
class Clock:
    """The system's monotonic clock, and the timers of event loops.

    Times are seconds. May be used from any thread; a callback is called by the loop that is given.
    """

    def time(self) -> float:
        """The present time, on time.monotonic()'s clock."""
    def call_at(
        self,
        loop: asyncio.AbstractEventLoop,
        when: float,
        callback: Callable[[*_Ts], object],
        *arguments: *_Ts,
    ) -> _Timer:
        """Have `loop` call back when it is `when`; `cancel()` what is returned to undo that."""
    def call_later(
        self,
        loop: asyncio.AbstractEventLoop,
        delay: float,
        callback: Callable[[*_Ts], object],
        *arguments: *_Ts,
    ) -> _Timer:
        """Have `loop` call back in `delay` seconds; `cancel()` what is returned to undo that."""
    def call_once_read(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object]
    ) -> _Timer:
        """Have `loop` call back when it has read what is there to be read now."""
    async def sleep(self, seconds: float) -> None:
        """Let so much time pass; what `asyncio.sleep` does, by this clock."""

@disjoint_base
class ManualClock(Clock):
    """A clock that stands still until `advance` moves it.

    `start` is the time at first, in seconds, more than 0.
    """

    def __init__(self, start: float = 1000.0) -> None: ...
    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once.

        What is due by then is called by its loop, in the order in which it was due, when the
        program next awaits; what that sets going begins at the new time. May be called from any
        thread. Raises ValueError for what is no time to pass.
        """
    @property
    def next_timer(self) -> float | None:
        """When the first of the timers that were set is due; None: there is none."""

@disjoint_base
class Timer:
    """Something that a manual clock has a loop call."""

    def cancel(self) -> None:
        """Do not call any more."""
    @property
    def when(self) -> float: ...
    @property
    def waiting(self) -> bool:
        """Whether it has neither been called nor cancelled."""
    def call(self) -> None:
        """Call what is to be called (its loop does this)."""
    def __lt__(self, value: Timer, /) -> bool: ...
    def __gt__(self, value: Timer, /) -> bool: ...

SYSTEM_CLOCK: Final[Clock]
"""The clock of networks that have no other."""

def wake(over: asyncio.Future[None]) -> None:
    """End a sleep."""
