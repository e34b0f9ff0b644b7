"""SIGHUP again and again, while clients call and connect anew all the time: no call may fail.

    python -m tests.endurance.hup --workers 2 --reloads 20

Serves with `gyr serve --workers`; calls with h2load, which opens connections as fast as it can, and
with clients that keep a connection and that make a new one for every call: Gyrfalcon's asyncio and
blocking channels, and stock grpcio.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

import gyrfalcon as gyr
from tests.call.service import UNARY, message
from tests.endurance.programs import say
from tests.workers.programs import APP, gyr_serve, program, write_app

PATH = "/tests.Calls/Unary"
CALL_SECONDS = 30.0


class Tally:
    """Counts calls by who made them, and keeps why some failed."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.failed: list[str] = []
        self.pids: set[int] = set()
        self.stop = threading.Event()

    def answered(self, who: str, value: bytes) -> None:
        self.made[who] += 1
        self.pids.add(int(value.split()[0]))

    def failure(self, who: str, error: Exception) -> None:
        self.failed.append(f"{who}: {error}")


async def call_asyncio(target: str, tally: Tally) -> None:
    """One channel that stays, and one for each call."""

    async def stay() -> None:
        async with gyr.Channel(target) as channel:
            unary = gyr.UnaryUnary(channel, UNARY)
            while not tally.stop.is_set():
                await once("asyncio, one channel", unary)

    async def anew() -> None:
        while not tally.stop.is_set():
            async with gyr.Channel(target) as channel:
                await once("asyncio, a channel a call", gyr.UnaryUnary(channel, UNARY))

    async def once(who: str, unary: gyr.UnaryUnary[Any, Any]) -> None:
        try:
            reply = await unary(message(), timeout=CALL_SECONDS)
        except gyr.RpcError as error:
            tally.failure(who, error)
        else:
            tally.answered(who, reply.value)

    async with asyncio.TaskGroup() as group:
        for run in (stay, stay, anew, anew):
            group.create_task(run())


def call_blocking(target: str, tally: Tally) -> None:
    with gyr.blocking.Channel(target) as channel:
        unary = gyr.blocking.UnaryUnary(channel, UNARY)
        while not tally.stop.is_set():
            try:
                tally.answered("blocking", unary(message(), timeout=CALL_SECONDS).value)
            except gyr.RpcError as error:
                tally.failure("blocking", error)


def call_grpcio(target: str, tally: Tally) -> None:
    """One channel that stays."""
    with grpc.insecure_channel(target) as channel:
        unary = grpcio_unary(channel)
        while not tally.stop.is_set():
            call_grpcio_once("grpcio, one channel", unary, tally)


def call_grpcio_anew(target: str, tally: Tally) -> None:
    """A connection for each call."""
    while not tally.stop.is_set():
        # Else channels to one target share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(target, options) as channel:
            call_grpcio_once("grpcio, a channel a call", grpcio_unary(channel), tally)


def grpcio_unary(channel: Any) -> Callable[..., Any]:
    found: Callable[..., Any] = channel.unary_unary(
        PATH, lambda one: one.SerializeToString(), message().FromString
    )
    return found


def call_grpcio_once(who: str, unary: Callable[..., Any], tally: Tally) -> None:
    try:
        tally.answered(who, unary(message(), timeout=CALL_SECONDS).value)
    except grpc.RpcError as error:
        tally.failure(who, error)


async def call_h2load(target: str, tally: Tally, body: Path) -> None:
    """Runs of h2load, each with connections of its own; every request must succeed."""
    while not tally.stop.is_set():
        process = await asyncio.create_subprocess_exec(
            *("h2load", "-n", "400", "-c", "20", "-m", "20", "-d", str(body)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://{target}{PATH}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        if found is None or found.groups() != ("400", "0", "0", "0"):
            tally.failed.append(f"h2load: {output}")
        tally.made["h2load"] += 400


@contextlib.contextmanager
def calling(target: str, tally: Tally, body: Path) -> Iterator[None]:
    """All the clients, in threads."""

    def with_loop() -> None:
        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(call_asyncio(target, tally))
                if shutil.which("h2load"):
                    group.create_task(call_h2load(target, tally, body))

        asyncio.run(run())

    # Before the threads: modules that import each other are loaded by one thread.
    for loaded in (gyr.Channel, gyr.UnaryUnary, gyr.blocking.Channel):
        assert loaded
    others = [
        threading.Thread(target=run, args=(target, tally))
        for run in (call_blocking, call_grpcio, call_grpcio_anew)
    ]
    threads = [threading.Thread(target=with_loop), *others]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        tally.stop.set()
        for thread in threads:
            thread.join()


def reload_under_load(workers: int, reloads: int, linger: float) -> dict[str, Any]:
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_app(folder, APP)
        (folder / "body").write_bytes(bytes(5))
        options = ("-w", str(workers), "--linger", str(linger))
        with program(gyr_serve(folder, "127.0.0.1:0", *options)) as served:
            target = served.read_until(r"workers? on (\S+)")[0][1]
            with calling(target, tally, folder / "body"):
                for _ in range(reloads):
                    served.signal(signal.SIGHUP)
                    served.read_until("reloaded in")
                    served.read_until("ended with status 0", workers)
            status = served.stop()
    return {
        "reloads": reloads,
        "made": dict(tally.made),
        "failed": len(tally.failed),
        "why": tally.failed[:5],
        "processes": len(tally.pids),
        "status": status,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--linger", type=float, default=1.0)
    options = parser.parse_args()
    # grpcio's forks and ours: this process only starts others.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    report = reload_under_load(options.workers, options.reloads, options.linger)
    say(report)
    sys.exit(0 if report["failed"] == 0 and all(report["made"].values()) else 1)


if __name__ == "__main__":
    main()
