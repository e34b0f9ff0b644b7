"""How every example serves: until a signal, and telling first where it listens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import gyrfalcon as gyr


async def serve(service: gyr.Service, address: str) -> None:
    """Prints `listening on ADDRESS` once calls can come in, and serves until SIGINT or SIGTERM.

    A program that only serves can say `gyr.Server([service]).run(address)` instead; this tells
    which port was chosen for an `address` with port 0.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with gyr.Server([service]) as server:
        try:
            port = await server.listen(address)
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        tell(address, port)
        await stop.wait()


def serve_from_threads(server: gyr.blocking.Server, address: str) -> None:
    """As `serve`, for a server of threads. From the main thread."""
    # As SIGINT does, it interrupts what the main thread waits for.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        port = server.listen(address)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    with server, contextlib.suppress(KeyboardInterrupt):
        tell(address, port)
        server.wait()


def tell(address: str, port: int) -> None:
    where = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    print(f"listening on {where}", flush=True)
