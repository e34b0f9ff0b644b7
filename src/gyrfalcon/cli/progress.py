"""The progress bar of `gyr bench`: on stderr, and only where somebody sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .load import Tally, Until

_INTERVAL_S = 0.1


@asynccontextmanager
async def progress(title: str, until: Until, tally: Tally, quiet: bool) -> AsyncIterator[None]:
    """Show how far a phase is while the block runs."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[calls]:,} calls"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        auto_refresh=False,  # it would be done by a thread
    )
    total = until.calls if until.calls is not None else until.seconds
    with bar:
        task = bar.add_task(title, total=total, calls=0)
        began = time.monotonic()

        async def follow() -> None:
            while True:
                done = tally.calls if until.calls is not None else time.monotonic() - began
                bar.update(task, completed=done, calls=tally.calls, refresh=True)
                await asyncio.sleep(_INTERVAL_S)

        following = asyncio.ensure_future(follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])
