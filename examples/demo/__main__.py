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

from examples.greeter import blocking_client as greeter_from_threads
from examples.greeter import client as greeter
from examples.greeter.proto.helloworld_gyr import GreeterBlockingStub, GreeterStub
from examples.route_guide import blocking_client as guide_from_threads
from examples.route_guide import client as guide
from examples.route_guide.proto.route_guide_gyr import RouteGuideBlockingStub, RouteGuideStub
from retail import blocking_client as shop_from_threads
from retail import client as shop
from retail.proto.order_management_gyr import OrderManagementBlockingStub, OrderManagementStub

from .clients import on_asyncio, on_threads
from .servers import ServerError, running
from .tours import visit_greeter, visit_greeter_without_waiting, visit_map, visit_shop
from .transcript import Transcript


async def tour(transcript: Transcript) -> None:
    """Visits the three services, with asyncio and from threads, each time on a new server."""
    with TemporaryDirectory(prefix="gyrfalcon-demo-") as folder:
        db = f"sqlite+aiosqlite:///{Path(folder) / 'orders.db'}"
        async with running("retail.server", "--db", db) as address:
            transcript.section("Online retail: OrderManagement", f"{address}, a new SQLite file")
            async with on_asyncio(address, shop, OrderManagementStub) as client:
                await visit_shop(transcript, client)
    async with running("examples.route_guide.server") as address:
        transcript.section("RouteGuide", address)
        async with on_asyncio(address, guide, RouteGuideStub) as client:
            await visit_map(transcript, client)
    async with running("examples.greeter.server") as address:
        transcript.section("Greeter", address)
        async with on_asyncio(address, greeter, GreeterStub) as client:
            await visit_greeter(transcript, client)
    await tour_from_threads(transcript)


async def tour_from_threads(transcript: Transcript) -> None:
    """The same with the blocking clients."""
    with TemporaryDirectory(prefix="gyrfalcon-demo-") as folder:
        db = f"sqlite+aiosqlite:///{Path(folder) / 'orders.db'}"
        async with running("retail.server", "--db", db) as address:
            transcript.section("Online retail, from threads", f"{address}, a new SQLite file")
            async with on_threads(
                address, shop_from_threads, OrderManagementBlockingStub
            ) as client:
                await visit_shop(transcript, client)
    async with running("examples.route_guide.server") as address:
        transcript.section("RouteGuide, from threads", address)
        async with on_threads(address, guide_from_threads, RouteGuideBlockingStub) as client:
            await visit_map(transcript, client)
    # Its server has no loop either: a completion queue and two threads.
    async with running("examples.greeter.queue_server") as address:
        transcript.section("Greeter, from threads", f"{address}, served from a completion queue")
        async with on_threads(address, greeter_from_threads, GreeterBlockingStub) as client:
            await visit_greeter(transcript, client)
            await visit_greeter_without_waiting(transcript, client)


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
