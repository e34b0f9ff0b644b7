"""Mixed load among faults, and a verdict.

    python -m tests.endurance.soak [--minutes 10] [--report FILE] [--picture FILE]

Servers of both faces and of grpcio, clients of both faces and of grpcio: each client calls servers
in all four patterns, through a relay that can break its connections. Some processes live as long as
the run and are weighed, others are killed and started again. Every reply is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import signal
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.endurance.programs import ROOT
from tests.endurance.soak.faults import Faults
from tests.endurance.soak.network import Place, place
from tests.endurance.soak.picture import draw
from tests.endurance.soak.processes import Process
from tests.endurance.soak.relay import Relay
from tests.endurance.soak.verdict import judge

REPORTS = ROOT / "build" / "reports"
FIRST_PORT = 47_200
"""of the servers in a namespace of their own; elsewhere free ones are found"""
FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib64/faketime/libfaketime.so.1",
)
# Calls that run when the last fault is over get so long to end.
CALM_S = 3.0
WEIGHINGS = 60
"""of a run: one a minute in an hour"""
SHORTEST_BETWEEN_S = 5.0
INTERRUPTED = 128 + signal.SIGINT
"""the status of a run that was, whatever its verdict: it is not the one that was asked for"""


def free_port(host: str, number: int) -> int:
    """A port for a server that another process will be."""
    if host != "127.0.0.1":
        return FIRST_PORT + number
    import socket

    with socket.socket() as found:
        found.bind((host, 0))
        port: int = found.getsockname()[1]
        return port


def faked_clock(folder: Path, where: Place) -> tuple[Path | None, dict[str, str]]:
    """What lets the wall clock of a process jump, where libfaketime is installed."""
    library = next((path for path in FAKETIME if Path(path).exists()), None)
    if library is None:
        where.notes.append("clock jumps: not in this run, no libfaketime: apt install faketime")
        return None, {}
    file = folder / "clock"
    file.write_text("+0h\n")
    return file, {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        # The monotonic clock of a machine does not jump; deadlines go by that.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


class Soak:
    """All of a run."""

    def __init__(self, where: Place, folder: Path) -> None:
        self.where = where
        self.clock_file, self.clock = faked_clock(folder, where)
        self.servers: list[Process] = []
        self.clients: list[Process] = []
        self.relays: list[Relay] = []
        self.faults: Faults
        self.began = 0.0
        self.minutes = 0.0
        self.weighed = self.every = 0.0
        self.interrupted = asyncio.Event()
        self.broken: list[str] = []
        """why it could not go on"""
        self.minutes = 0.0
        self.weighed = self.every = 0.0

    async def start(self) -> None:
        kinds = [("asyncio", True), ("threads", True), ("grpcio", True), ("asyncio", False)]
        for number, (kind, steady) in enumerate(kinds):
            port = free_port(self.where.host, number)
            self.servers.append(
                Process(
                    f"{'' if steady else 'killed '}server, {kind}", "servers",
                    [kind, f"{self.where.host}:{port}"], steady=steady, ours=kind != "grpcio",
                    prefix=self.where.prefix, environment=self.clock_of(kind),
                )
            )  # fmt: skip
            relay = Relay(self.where.host, port)
            await relay.open()
            self.relays.append(relay)
        await asyncio.gather(*(server.start() for server in self.servers))
        targets = [f"127.0.0.1:{relay.port}" for relay in self.relays]
        ours = [targets[0], targets[1], targets[3]]
        for kind, where, steady in (
            ("asyncio", targets, True), ("blocking", targets, True), ("grpcio", ours, True),
            ("blocking", ours, False),
        ):  # fmt: skip
            self.clients.append(
                Process(
                    f"{'' if steady else 'killed '}client, {kind}", "clients", [kind, *where],
                    steady=steady, ours=kind != "grpcio", environment=self.clock_of(kind),
                )
            )  # fmt: skip
        await asyncio.gather(*(client.start() for client in self.clients))

    def clock_of(self, kind: str) -> dict[str, str]:
        # grpcio's core waits by the system call, until a time of the wall clock: one that only
        # the library has let jump makes it wait for hours.
        return {} if kind == "grpcio" else self.clock

    @property
    def processes(self) -> list[Process]:
        return [*self.servers, *self.clients]

    async def run(self, minutes: float) -> None:
        """Until the time is over, or a signal comes, or a fault cannot be made or undone."""
        self.began = time.monotonic()
        steady = [one for one in self.processes if one.steady]
        victims = [one for one in self.processes if not one.steady]
        self.faults = Faults(
            self.where,
            self.relays,
            steady,
            victims,
            self.clock_file,
            self.interrupted,
            self.weigh_if_due,
        )
        self.every = max(60 * minutes / WEIGHINGS, SHORTEST_BETWEEN_S)
        pulse = asyncio.create_task(self.tell())
        print(f"{len(self.processes)} processes, {minutes:g} minutes", flush=True)
        try:
            await self.faults.run(self.began + 60 * minutes - CALM_S)
            await self.weigh()
        except Exception as error:
            # What was seen until then is judged all the same.
            traceback.print_exc()
            self.broken.append(f"the soak: {error!r}")
        await asyncio.sleep(CALM_S)
        pulse.cancel()
        self.minutes = (time.monotonic() - self.began) / 60

    async def weigh_if_due(self) -> None:
        if time.monotonic() >= self.weighed + self.every:
            await self.weigh()

    async def weigh(self) -> None:
        """Weigh every process while no call runs and there is no fault."""
        await asyncio.gather(*(client.rest() for client in self.clients))
        await asyncio.gather(*(one.ask("weigh") for one in self.processes if one.steady))
        await asyncio.gather(*(client.ask("resume") for client in self.clients))
        self.weighed = time.monotonic()

    def interrupt(self) -> None:
        """Ctrl-C: end in order now. The next one ends it at once."""
        self.interrupted.set()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    async def tell(self) -> None:
        """A line a minute."""
        while True:
            await asyncio.sleep(60)
            calls = sum(one.samples[-1].get("started", 0) for one in self.clients if one.samples)
            wrong = sum(one.samples[-1].get("wrong", 0) for one in self.clients if one.samples)
            minutes = (time.monotonic() - self.began) / 60
            faults = len(self.faults.log)
            print(
                f"{minutes:5.1f} min: {calls:,} calls, {wrong} wrong, {faults} faults", flush=True
            )

    async def stop(self) -> None:
        await asyncio.gather(*(client.stop() for client in self.clients))
        await asyncio.gather(*(server.stop() for server in self.servers))
        for relay in self.relays:
            await relay.close()


async def soak(minutes: float, where: Place, folder: Path) -> tuple[dict[str, Any], Soak]:
    one = Soak(where, folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, one.interrupt)
    for note in where.notes:
        print(note, flush=True)
    await one.start()
    await one.run(minutes)
    await one.stop()
    return judge(one.processes, one.began, one.minutes, one.faults.log, one.broken), one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--report", type=Path, default=REPORTS / "soak.json")
    parser.add_argument("--picture", type=Path, help="none unless given")
    options = parser.parse_args()
    began = datetime.now(UTC)
    with place() as where, tempfile.TemporaryDirectory() as folder:
        found, one = asyncio.run(soak(options.minutes, where, Path(folder)))
        packets = where.packets()
    interrupted = one.interrupted.is_set()
    report: dict[str, Any] = {
        "began": began.isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "grpcio": version("grpcio")},
        "not_in_this_run": where.notes,
        "interrupted": interrupted,
        "packets": packets,
    } | found
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=2) + "\n")
    if options.picture is not None:
        title = f"{report['calls']:,} calls in {one.minutes:.1f} minutes: {report['verdict']}"
        draw(options.picture, one.processes, one.faults.log, one.began, title)
    if packets:
        print("packets:", ", ".join(f"{count:,} {what}" for what, count in packets.items()))
    for name, of_one in report["processes"].items():
        grown = f", memory at rest {of_one['growth']:+.2%}" if "growth" in of_one else ""
        if of_one["stuck"]:
            grown += f", ended {of_one['stuck']} times over a call that did not end"
        print(f"{name}: {of_one['calls']:,} calls {of_one['outcomes']}{grown}")
    for complaint in report["complaints"]:
        print(f"FAULT {complaint}")
    print(f"{report['verdict']}: {report['criterion']}; {options.report}")
    if interrupted:
        print(f"interrupted after {one.minutes:.1f} of {options.minutes:g} minutes")
        return INTERRUPTED
    return 0 if report["verdict"] == "passed" else 1


if __name__ == "__main__":
    sys.exit(main())
