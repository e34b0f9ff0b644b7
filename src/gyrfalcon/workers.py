"""Serving with several processes: what `gyr serve --workers` is made of, for launchers like it.

A program that has its server at hand calls `Server.run(..., workers=N)` instead.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .rpc.options import check_seconds
from .server.supervisor import LINGER_SECONDS, WorkerError, check_workers
from .server.supervisor import supervise as _supervise
from .server.worker import Worker as _Worker
from .server.worker import hold_addresses, worker_number
from .transport.processes import Children, CommandLauncher

__all__ = ["Worker", "WorkerError", "supervise", "worker_number"]


def supervise(
    command: Sequence[str],
    addresses: Sequence[str],
    *,
    workers: int = 1,
    linger: float = LINGER_SECONDS,
    developing: bool = False,
) -> None:
    """Bind the addresses and keep `workers` processes running that serve them, each started with
    `command` and one more argument, which it gives to `Worker`.

    SIGINT and SIGTERM drain all and return; a second one ends them at once. SIGHUP starts new
    workers; when all of them serve, the old ones accept no more connections, drain those that have
    had no call for a second, and after `linger` seconds the others. SIGUSR1 and SIGUSR2 are passed
    on. With `developing`, a worker that dies at its start is started again by SIGHUP only, and
    replaced ones get a second for their calls.

    To be called from the main thread. Raises OSError and ValueError for addresses that cannot be
    had, WorkerError when workers cannot be kept running.
    """
    check_workers(workers)
    _supervise(
        CommandLauncher(command),
        hold_addresses(addresses),
        workers,
        children=Children(),
        linger=check_seconds("linger", linger),
        developing=developing,
    )


class Worker(_Worker):
    """This process as a worker of `supervise`: make it first of all, in the main thread, from the
    process's last argument, and have it `serve` a server."""

    def __init__(self, handover: str) -> None:
        told: dict[str, Any] = json.loads(handover)
        super().__init__(told)
