"""The server of gRPC's interoperability tests, on Gyrfalcon.

    python -m tests.interop.server --port 8080 [--use_tls] [--face asyncio|blocking]

It says "listening on PORT" when it does, and serves until SIGINT or SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import gyrfalcon as gyr
from gyrfalcon.services import LoadReport, Orca
from tests.interop import flags
from tests.interop.bindings import GyrfalconService, ThreadLock
from tests.interop.service import TestService

MIN_INTERVAL_S = 0.1
"""Between load reports: clients of the tests ask for a second."""
GRACE_S = 1.0


def make_services(*, threads: bool) -> list[gyr.Service]:
    orca = Orca(min_interval=MIN_INTERVAL_S)

    def set_load(report: LoadReport) -> None:
        orca.report = report

    lock: Any = ThreadLock() if threads else asyncio.Lock
    if not threads:
        one = asyncio.Lock()
        lock = lambda: one  # noqa: E731
    return [GyrfalconService(TestService(set_load, lock), threads=threads), orca]


async def serve_asyncio(address: str, **options: Any) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with gyr.Server(make_services(threads=False), grace=GRACE_S, **options) as server:
        flags.announce(await server.listen(address))
        await over.wait()


def serve_blocking(address: str, **options: Any) -> None:
    signals = {signal.SIGINT, signal.SIGTERM}
    # Threads inherit it, so that a signal waits for the main one.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    services = make_services(threads=True)
    with gyr.blocking.Server(services, grace=GRACE_S, **options) as server:
        flags.announce(server.listen(address))
        signal.sigwait(signals)


def main() -> None:
    arguments = flags.server_parser(__doc__, ("asyncio", "blocking")).parse_args()
    options: dict[str, Any] = {}
    if arguments.use_tls:
        certificate, key = flags.server_certificate(arguments)
        options["tls"] = gyr.ServerTLS(certificate, key)
    address = f"{arguments.host}:{arguments.port}"
    if arguments.face == "blocking":
        serve_blocking(address, **options)
    else:
        asyncio.run(serve_asyncio(address, **options))


if __name__ == "__main__":
    main()
