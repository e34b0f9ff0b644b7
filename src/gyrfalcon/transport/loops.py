"""Event loops: uvloop where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes new loops: uvloop's, or None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_in_new_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main)
