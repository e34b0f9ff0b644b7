"""A server as one of several processes, the workers, which a supervisor starts."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..policy.target import HeldAddress, parse_listen_address
from ..transport.held import HeldSockets
from ..transport.loops import freeze_heap, run_in_new_loop
from ..transport.network import Network
from ..transport.processes import (
    Children,
    ForkLauncher,
    WorkerLine,
    name_process,
    take_signals,
)
from .supervisor import check_workers, supervise

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("gyrfalcon.workers")

# Of an error that a worker tells its supervisor, in characters.
_MOST_TEXT = 8 * 2**10

_number: int | None = None


def worker_number() -> int | None:
    """Which worker this process is, counted from 1; None in a process that is none."""
    return _number


class Worker:
    """This process as a worker: `told` is what its supervisor handed over.

    To be made early, in the main thread: from then on signals do what they do in a worker.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        global _number
        self.number = _number = int(told["number"])
        self._line = WorkerLine(told["line"])
        self._addresses = [
            HeldAddress(tuple(descriptors), text) for text, descriptors in told["addresses"]
        ]
        name_process(f"gyr worker {self.number}")
        take_signals()

    def fail(self, message: str, **details: Any) -> None:
        """Tell the supervisor that no worker can serve, and why; then end the process."""
        self._line.tell({"failed": {"message": message[:_MOST_TEXT], **details}})

    def serve(self, server: Server) -> None:
        """Serve until the supervisor ends it, or is gone, or SIGTERM comes."""
        run_in_new_loop(self._serve(server))

    async def _serve(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, server.begin_stop)
        try:
            async with server:
                for address in self._addresses:
                    await server.listen_on(address)
                freeze_heap()
                tasks = set[asyncio.Task[None]]()

                def told(message: dict[str, Any]) -> None:
                    if "leave" in message:
                        tasks.add(loop.create_task(server.leave(message["leave"])))
                    else:
                        server.begin_stop(0.0)

                self._line.listen(loop, told, lambda: _abandoned(server))
                grace = server.grace
                self._line.tell({"ready": {"grace": grace if math.isfinite(grace) else 1e9}})
                await server.wait_closed()
                self._line.deafen(loop)
                await asyncio.gather(*tasks)
        finally:
            # It is told several times perhaps, and ends well all the same.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            loop.remove_signal_handler(signal.SIGTERM)
            self._line.close()


def _abandoned(server: Server) -> None:
    log.warning("the supervisor is gone: stopping")
    server.begin_stop()


def hold_addresses(texts: Sequence[str]) -> list[HeldSockets]:
    """Bind these addresses for workers. Raises ValueError, and OSError that names the address."""
    held: list[HeldSockets] = []
    try:
        for text in texts:
            held.append(HeldSockets(parse_listen_address(text)))
    except BaseException:
        for one in held:
            one.close()
        raise
    return held


def serve_with_workers(server: Server, network: Network, texts: Sequence[str], count: int) -> None:
    """What `Server.run` does with `workers`. Raises WorkerError."""
    check_workers(count)
    if type(network).listen is not Network.listen:
        raise ValueError(f"workers share the system's sockets, and {network!r} has others")
    others = [one.name for one in threading.enumerate() if one is not threading.current_thread()]
    if others:
        log.warning(
            "workers are forked from a process with other threads, which they will not have: %s",
            ", ".join(others),
        )
    held = hold_addresses(texts)
    # Here too: what is never collected stays shared by the processes.
    freeze_heap()
    children = Children()
    launch = ForkLauncher(lambda told: _serve_forked(server, children, held, told))
    supervise(launch, held, count, children=children)


def _serve_forked(
    server: Server, children: Children, held: Sequence[HeldSockets], told: dict[str, Any]
) -> None:
    children.forget()
    for address in held:
        address.leave_to(told["number"])
    Worker(told).serve(server)
