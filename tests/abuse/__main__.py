"""`make abuse`: every attack for some seconds each, over and over, while a neighbour calls.

Prints a table, writes build/reports/abuse.json, and ends with 1 when a verdict is bad.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.abuse.families import CALM, HARMLESS, MIB, Family
from tests.abuse.neighbour import Experience, Neighbour
from tests.abuse.target import Process
from tests.abuse.verdicts import Verdict, attack

REPORT = Path("build/reports/abuse.json")
# The neighbour's p99 under attack, in terms of that without one.
MOST_P99 = 3.0
# The p99 of a quiet server is that of the machine's wake-ups; it is not held against less.
LEAST_P99_S = 0.001


def quiet(target: Process, seconds: float) -> Experience:
    """What the neighbour sees when nobody attacks."""
    neighbour = Neighbour(target.port)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
    return neighbour.leave()


def under_attack(
    target: Process, family: Family, seconds: float
) -> tuple[list[Verdict], Experience]:
    """One attack after another on new connections, for so long."""
    neighbour = Neighbour(target.port)
    target.neighbours = 1
    end = time.monotonic() + seconds
    verdicts: list[Verdict] = []
    while not verdicts or time.monotonic() < end:
        verdicts.append(attack(target, family))
    target.neighbours = 0
    return verdicts, neighbour.leave()


@click.command()
@click.option("--seconds", default=10.0, help="For each attack.", show_default=True)
@click.option("--only", default="", help="Attacks with this in their name.")
def main(seconds: float, only: str) -> None:
    """Attack a server in every known way, and say what came of it."""
    console = Console(width=180)
    target = Process()
    for family in CALM[:2] + HARMLESS[2:]:
        attack(target, family)
    idle = quiet(target, max(seconds, 5.0))
    table = Table(title=f"A neighbour alone: p99 {idle.p99 * 1e3:.2f} ms")
    for column in (
        "attack",
        "times",
        "GOAWAY",
        "resets",
        "MiB held",
        "MiB kept",
        "handlers",
        "p99",
    ):
        table.add_column(column)
    table.add_column("verdict")
    report = []
    for family in CALM + HARMLESS:
        if only not in family.name:
            continue
        verdicts, experience = under_attack(target, family, seconds)
        faults = sorted({fault for verdict in verdicts for fault in verdict.faults})
        faults += [f"the neighbour met {error}" for error in experience.errors[:3]]
        ratio = experience.p99 / max(idle.p99, LEAST_P99_S)
        if ratio > MOST_P99:
            faults.append(f"the neighbour's p99 is {ratio:.1f} times what it was")
        last = verdicts[-1]
        table.add_row(
            family.name,
            str(len(verdicts)),
            last.goaway or "",
            " ".join(f"{name} {count}" for name, count in last.resets.items()),
            f"{max(verdict.growth for verdict in verdicts) / MIB:.1f}",
            f"{max(verdict.left for verdict in verdicts) / MIB:.1f}",
            str(max(verdict.most_handlers for verdict in verdicts)),
            f"{experience.p99 * 1e3:.2f} ms",
            "; ".join(faults) or "survived",
        )
        report.append(
            {
                **dataclasses.asdict(last),
                "times": len(verdicts),
                "growth": max(verdict.growth for verdict in verdicts),
                "left": max(verdict.left for verdict in verdicts),
                "calls": len(experience.took),
                "p99": experience.p99,
                "p99_ratio": ratio,
                "faults": faults,
            }
        )
    target.stop()
    console.print(table)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"idle_p99": idle.p99, "attacks": report}, indent=1) + "\n")
    bad = [one["family"] for one in report if one["faults"]]
    console.print(f"{len(report)} attacks, {len(bad)} of them with faults; {REPORT}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
