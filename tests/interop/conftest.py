"""Keeps what grpc.aio does to other loops than its own away from the tests."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from typing import Any

import pytest

POLLER = "grpc._cython.cygrpc.PollerCompletionQueue._handle_events"


def is_for_a_closed_loop(error: BaseException) -> bool:
    """Whether grpc.aio had news for a loop that is closed by now.

    One poller serves all loops of the process: the loop that reads an event first passes it on to
    the loop it is for, without a look whether an earlier test has closed that one.
    """
    if not isinstance(error, RuntimeError) or str(error) != "Event loop is closed":
        return False
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    # What uvloop calls so is uvloop.loop.Loop.call_soon_threadsafe.
    return any(
        caller == POLLER and called.endswith("call_soon_threadsafe")
        for caller, called in itertools.pairwise(frames)
    )


@pytest.fixture(autouse=True)
async def passed_over(anyio_backend: object) -> asyncio.Queue[BaseException]:
    """Errors of grpc.aio's that are not for the loop of this test, and do not fail it."""
    errors: asyncio.Queue[BaseException] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    handle: Any = loop.get_exception_handler()

    def look_first(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error: BaseException | None = context.get("exception")
        if error is not None and is_for_a_closed_loop(error):
            errors.put_nowait(error)
        else:
            handle(loop, context)

    # For as long as the loop lives, which is no longer than the test.
    loop.set_exception_handler(look_first)
    return errors
