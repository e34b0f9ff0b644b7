"""Runs the asynchronous part of a command."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .failures import INTERRUPTED

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop of its own: uvloop's where it is installed.

    Ctrl-C cancels it, and the process ends with 130 when it has cleaned up.
    """
    _fill_standard_descriptors()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _fill_standard_descriptors() -> None:
    """Open /dev/null where stdin, stdout or stderr was closed: a socket must not take its number,
    and uvloop aborts the process when one does."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
