"""The clients of the tour, asynchronous and blocking ones, as the tour sees them: asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import Any, Final

import gyrfalcon as gyr

CALL_SECONDS: Final = 30.0


class Client:
    """The functions of a client's module, given its stub: `await client.get_feature(point)`."""

    def __init__(self, module: ModuleType, stub: Any, *, threads: bool) -> None:
        self._module = module
        self._stub = stub
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._module, name)
        if self._threads:
            # What blocks, blocks a thread of its own; the tour goes on when it returns.
            return partial(asyncio.to_thread, function, self._stub)
        return partial(function, self._stub)


@asynccontextmanager
async def on_asyncio(address: str, module: ModuleType, stub: type[Any]) -> AsyncIterator[Client]:
    async with gyr.Channel(address, default_timeout=CALL_SECONDS) as channel:
        yield Client(module, stub(channel), threads=False)


@asynccontextmanager
async def on_threads(address: str, module: ModuleType, stub: type[Any]) -> AsyncIterator[Client]:
    channel = gyr.blocking.Channel(address, default_timeout=CALL_SECONDS)
    try:
        yield Client(module, stub(channel), threads=True)
    finally:
        await asyncio.to_thread(channel.close)
