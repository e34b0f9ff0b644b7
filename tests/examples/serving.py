"""A service on a real server, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import gyrfalcon as gyr


@asynccontextmanager
async def serving(service: gyr.Service) -> AsyncIterator[gyr.Channel]:
    async with gyr.Server([service]) as server:
        port = await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}", default_timeout=60.0) as channel:
            yield channel
