"""``python -m benchmarks.instructions``: instructions a call, which no neighbour can sway.

Counts the user-space instructions and the processor time (kernel included) of server and client
with ``perf stat`` for two numbers of calls and divides the differences, so that start-up and
handshakes cancel out. Linux only, and only where the kernel lets a user count
(``kernel.perf_event_paranoid`` at most 2).
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from benchmarks import h2load, tables
from benchmarks.measures import Neutral, Own, Served, served
from benchmarks.processes import (
    Program,
    ProgramFailed,
    cores,
    descendants,
    end_on_signals,
    run,
)
from benchmarks.roster import PEERS, Peer, missing
from benchmarks.scenarios import SCENARIOS

INSTRUCTIONS, CLOCK = "instructions:u", "task-clock"
PERF = ("perf", "stat", "-x,", "-e", f"{INSTRUCTIONS},{CLOCK}", "-o")
PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program has used."""

    instructions: float
    microseconds: float

    def until(self, later: Cost, calls: int) -> Cost:
        """What one of so many calls has used, between this count and a later one."""
        return Cost(
            (later.instructions - self.instructions) / calls,
            (later.microseconds - self.microseconds) / calls,
        )


def cost(report: Path) -> Cost:
    """The counts in what ``perf stat -x,`` wrote."""
    seen: dict[str, float] = {}
    for line in report.read_text().splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2] in (INSTRUCTIONS, CLOCK) and fields[0][0].isdigit():
            seen[fields[2]] = float(fields[0])
    if len(seen) < 2:
        raise ProgramFailed(f"perf counted nothing: {report.read_text().strip()!r}")
    return Cost(seen[INSTRUCTIONS], seen[CLOCK] * 1e3)


def unavailable() -> str:
    """Why instructions cannot be counted here; empty when they can."""
    if shutil.which("perf") is None:
        return "perf is not installed (linux-perf)"
    try:
        with tempfile.NamedTemporaryFile() as file:
            run((*PERF, file.name, "true"), cores()[1], 60)
            cost(Path(file.name))
    except ProgramFailed as failure:
        return f"perf cannot count {INSTRUCTIONS} on this machine: {failure}"
    return ""


def count(server: Served, client: tuple[str, ...]) -> tuple[Cost, Cost]:
    """What server and client use while the client runs."""
    with tempfile.TemporaryDirectory() as folder:
        of_server, of_client = Path(folder, "server"), Path(folder, "client")
        processes = ",".join(map(str, descendants(server.program.process.pid)))
        command = (*PERF, str(of_server), "-p", processes, "--", *PERF, str(of_client), "--")
        with Program((*command, *client), cores()[1], server.peer.environment) as program:
            program.rest(PATIENCE, server.peer.exits)
        return cost(of_server), cost(of_client)


def take(scenario: Neutral | Own, server: Served, calls: int) -> tuple[Cost, Cost]:
    """Count while the scenario's client makes so many calls."""
    if isinstance(scenario, Neutral):
        with scenario.load(server.port).command(f"--requests={calls}") as command:
            return count(server, command)
    return count(
        server,
        (
            *server.peer.program,
            "call",
            *scenario.load,
            *("--port", str(server.port)),
            *("--calls", str(calls)),
        ),
    )


def measure(scenario: Neutral | Own, peer: Peer, wanted: int) -> tuple[Cost, Cost]:
    """Server's and client's cost of one call, exchange or message."""
    if isinstance(scenario, Own) and scenario.heavy:
        wanted //= 50
    # At least 500: h2load uses every stream of every connection.
    calls = max(500 if scenario.messages == 1 else 10, wanted // scenario.messages // 10 * 10)
    options = scenario.serve if isinstance(scenario, Neutral) else ()
    with served(peer, *options) as server:
        take(scenario, server, calls)
        first, second = (take(scenario, server, times * calls) for times in (1, 3))
    n = 2 * calls * scenario.messages
    return first[0].until(second[0], n), first[1].until(second[1], n)


COUNTABLE = tuple(scenario for scenario in SCENARIOS if isinstance(scenario, (Neutral, Own)))


@click.command(help=__doc__)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice([scenario.name for scenario in COUNTABLE]),
    help="Only this one (repeatable).",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([peer.name for peer in PEERS]),
    default=("gyrfalcon",),
    show_default=True,
)
@click.option("--calls", default=10_000, show_default=True, help="Calls or messages; and 3 × that.")
def main(scenarios: tuple[str, ...], peers: tuple[str, ...], calls: int) -> None:
    end_on_signals()
    console = tables.console()
    if reason := unavailable():
        raise click.ClickException(reason)
    table = Table(title="a call, exchange or message")
    for heading in ("", "peer"):
        table.add_column(heading)
    for side in ("server", "client"):
        table.add_column(f"{side}\n{INSTRUCTIONS}", justify="right")
        table.add_column(f"{side}\nµs of processor", justify="right")
    for scenario in COUNTABLE:
        if scenarios and scenario.name not in scenarios:
            continue
        for peer in PEERS:
            if peer.name not in peers:
                continue
            if reason := missing(peer) or (
                h2load.missing() if isinstance(scenario, Neutral) else ""
            ):
                console.print(f"[yellow]{scenario.name}, {peer.label}: {reason}[/]")
                continue
            try:
                costs = measure(scenario, peer, calls)
            except ProgramFailed as failure:
                console.print(f"[red]{scenario.name}, {peer.label}:[/] {escape(str(failure))}")
                continue
            cells = [(f"{one.instructions:,.0f}", f"{one.microseconds:,.2f}") for one in costs]
            table.add_row(scenario.figures[0].title, peer.label, *cells[0], *cells[1])
    console.print(table)


if __name__ == "__main__":
    main()
