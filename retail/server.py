"""The retail server: `python -m retail.server --db sqlite+aiosqlite:///orders.db`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

import gyrfalcon as gyr

from .database import DEFAULT_URL
from .service import OrderManagement
from .store import StoreError, open_store


async def serve(address: str, *, db: str, batch_size: int) -> None:
    """Serves until SIGINT or SIGTERM, then lets the calls that run finish."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        open_store(db) as store,
        gyr.Server([OrderManagement(store, batch_size=batch_size)]) as server,
    ):
        try:
            port = await server.listen(address)
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        where = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        print(f"listening on {where}", flush=True)
        await stop.wait()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retail.server", description=__doc__)
    parser.add_argument("--db", default=DEFAULT_URL, metavar="URL", help="default: %(default)s")
    parser.add_argument(
        "--listen", default="127.0.0.1:50051", metavar="ADDRESS", help="default: %(default)s"
    )
    parser.add_argument(
        "--batch-size", type=int, default=3, metavar="N", help="orders shipped together; default: 3"
    )
    options = parser.parse_args(arguments)
    if options.batch_size < 1:
        parser.error(f"--batch-size {options.batch_size}: a batch has at least 1 order")
    return options


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = parse_arguments()
    try:
        asyncio.run(serve(options.listen, db=options.db, batch_size=options.batch_size))
    except StoreError as error:
        sys.exit(f"retail.server: {error}")


if __name__ == "__main__":
    main()
