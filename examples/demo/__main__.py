"""The tour: `python -m examples.demo`. Its exit status is 0 only if every answer was right."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

import gyrfalcon as gyr
from examples.greeter.proto.helloworld_gyr import GreeterStub
from examples.route_guide.proto.route_guide_gyr import RouteGuideStub
from retail.proto.order_management_gyr import OrderManagementStub

from .servers import ServerError, running
from .tours import visit_greeter, visit_map, visit_shop
from .transcript import Transcript

CALL_SECONDS = 30.0


async def tour(transcript: Transcript) -> None:
    """Visits the three services, each on a server of its own that ends with the visit."""
    with TemporaryDirectory(prefix="gyrfalcon-demo-") as folder:
        db = f"sqlite+aiosqlite:///{Path(folder) / 'orders.db'}"
        async with running("retail.server", "--db", db) as address:
            transcript.section("Online retail: OrderManagement", f"{address}, a new SQLite file")
            async with gyr.Channel(address, default_timeout=CALL_SECONDS) as channel:
                await visit_shop(transcript, OrderManagementStub(channel))
    async with running("examples.route_guide.server") as address:
        transcript.section("RouteGuide", address)
        async with gyr.Channel(address, default_timeout=CALL_SECONDS) as channel:
            await visit_map(transcript, RouteGuideStub(channel))
    async with running("examples.greeter.server") as address:
        transcript.section("Greeter", address)
        async with gyr.Channel(address, default_timeout=CALL_SECONDS) as channel:
            await visit_greeter(transcript, GreeterStub(channel))


async def run(console: Console) -> int:
    task = asyncio.current_task()
    assert task is not None
    # As Ctrl-C does: what is running is ended, servers included.
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    transcript = Transcript(console)
    began = time.perf_counter()
    try:
        await tour(transcript)
    except ServerError as error:
        console.print(f"✗ {error}", style="bold red", markup=False, soft_wrap=True)
        return 1
    transcript.summary(time.perf_counter() - began)
    return 1 if transcript.wrong else 0


def main() -> int:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no → still shows the tour
    try:
        return asyncio.run(run(Console(highlight=False)))
    except KeyboardInterrupt:
        return 130
    except asyncio.CancelledError:
        return 143


if __name__ == "__main__":
    sys.exit(main())
