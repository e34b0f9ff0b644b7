"""`make abuse`: every attack for some seconds each, over and over, while a neighbour calls.

The server (or the client that is attacked) has one core, and the attacker and the neighbour the
other, as in the benchmarks. The neighbour's p99 under attack is judged by what it is while a
process that attacks nobody keeps that other core as busy as the attacker does (`control.py`). After
the attacks come the honest extremes in full: those are to be served to their end.

Prints tables, writes build/reports/abuse.json, and ends with 1 when a verdict is bad, with 2 when
the machine was too busy for a verdict on times.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import click
from rich.console import Console
from rich.table import Table

from benchmarks.processes import CAN_PIN, cores, pinned
from tests.abuse.control import busy
from tests.abuse.evil import ANSWERS, Answer, answering, ok
from tests.abuse.families import CALM, HARMLESS, MIB, WARM_UP, Family, Status
from tests.abuse.honest import HONEST, use
from tests.abuse.neighbour import EVERY_S, Experience, Neighbour
from tests.abuse.target import Process
from tests.abuse.verdicts import Verdict, attack
from tests.abuse.victim import FACES, Outcome, Victim

REPORT = Path("build/reports/abuse.json")
# The neighbour's p99 under attack, in terms of that beside a process that is as busy.
MOST_P99 = 3.0
# The p99 of a quiet server is that of the machine's wake-ups; it is not held against less.
LEAST_P99_S = 0.001
# When the idle p99 is over this, the machine does other work, and what it is compared with says
# nothing: then there is no verdict on times, and the command ends with 2.
MOST_IDLE_S = 0.01
# A p99 of fewer calls than this is the slowest of them.
LEAST_CALLS = 100
# Shares of the core that the control takes; an attacker that takes less is judged by the idle p99.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
GOOD = Answer("a good answer", lambda stream_id: [ok(stream_id)], Status.OK, lives=True)


class Baselines:
    """The neighbour's p99 beside a control, for each of its shares.

    Measured before the attacks and after them, because the machine changes meanwhile: of all those
    calls together. A control that takes more of the core costs the neighbour no less: where chance
    says otherwise, the p99 beside the smaller one counts.
    """

    def __init__(self, measure: Callable[[float], Experience], seconds: float) -> None:
        self._measure = measure
        self._seconds = seconds
        self._took: dict[float, list[float]] = {share: [] for share in SHARES}
        self.p99: dict[float, float] = {}
        self.take()

    def take(self) -> None:
        """Measure, once more."""
        most = 0.0
        for share in SHARES:
            with busy(share):
                seen = self._measure(self._seconds)
            assert seen.errors == []
            self._took[share] += seen.took
            most = max(most, Experience(self._took[share], []).p99)
            self.p99[share] = most

    @property
    def calls(self) -> dict[float, int]:
        return {share: len(took) for share, took in self._took.items()}

    @property
    def fit(self) -> bool:
        """Whether something can be judged by them."""
        return self.p99[0.0] <= MOST_IDLE_S

    def judge(self, seen: Experience, share: float) -> tuple[float, float]:
        """The control's p99 that counts for an attacker of that share, and the ratio to it."""
        control = self.p99[max(one for one in SHARES if one <= share + 0.01)]
        return control, seen.p99 / max(control, self.p99[0.0], LEAST_P99_S)

    def __str__(self) -> str:
        return ", ".join(
            f"{f'beside a control of {share:.0%}' if share else 'idle'} {p99 * 1e3:.2f} ms "
            f"({self.calls[share]} calls)"
            for share, p99 in self.p99.items()
        )


@dataclass
class Row:
    """What came of one attack that was made again and again."""

    name: str
    times: int
    end: str
    """How the connection, the streams or the call ended."""
    growth: int
    left: int
    handlers: int
    calls: int
    """Of the neighbour."""
    share: float
    """Of the core, that the attacker took."""
    p99_idle: float
    p99_control: float
    p99: float
    p99_ratio: float
    faults: list[str]


# What came of an attack, what the neighbour has seen, and the share of the core that it took.
Attacked: TypeAlias = tuple[Row, Experience, float]


def conclude(row: Row, seen: Experience, share: float, baselines: Baselines) -> Row:
    """Add what the neighbour has seen."""
    row.calls, row.share, row.p99 = len(seen.took), share, seen.p99
    row.p99_idle = baselines.p99[0.0]
    row.p99_control, row.p99_ratio = baselines.judge(seen, share)
    row.faults += [f"the neighbour met {error}" for error in seen.errors[:3]]
    if baselines.fit and row.p99_ratio > MOST_P99 and row.calls >= LEAST_CALLS:
        row.faults.append(f"the neighbour's p99 is {row.p99_ratio:.1f} times the control's")
    return row


class Busy:
    """The share of time that this process computes, from now on."""

    def __init__(self) -> None:
        self._began, self._spent = time.monotonic(), time.process_time()

    def share(self) -> float:
        return (time.process_time() - self._spent) / (time.monotonic() - self._began)


# ---------------------------------------------------------------------- a server


def quiet(target: Process, seconds: float) -> Experience:
    """What the neighbour sees when nobody attacks."""
    neighbour = Neighbour(target.port)
    time.sleep(seconds)
    return neighbour.leave()


def attack_server(target: Process, family: Family, seconds: float) -> Attacked:
    """One attack after another on new connections, for so long."""
    neighbour = Neighbour(target.port)
    target.neighbours = 1
    end = time.monotonic() + seconds
    used = Busy()
    verdicts: list[Verdict] = []
    while not verdicts or time.monotonic() < end:
        verdicts.append(attack(target, family))
    share = used.share()
    target.neighbours = 0
    last = verdicts[-1]
    ends = [
        last.goaway or "",
        *(f"{name} {n}" for name, n in (last.resets | last.statuses).items()),
    ]
    row = Row(
        family.name,
        len(verdicts),
        " ".join(filter(None, ends)),
        max(verdict.growth for verdict in verdicts),
        max(verdict.left for verdict in verdicts),
        max(verdict.most_handlers for verdict in verdicts),
        *(0, 0.0, 0.0, 0.0, 0.0, 0.0),
        sorted({fault for verdict in verdicts for fault in verdict.faults}),
    )
    if family.limits and family.reads and all(verdict.lost for verdict in verdicts):
        row.faults.append("no GOAWAY was ever read")
    return row, neighbour.leave(), share


# ---------------------------------------------------------------------- a client


def answer_client(
    victim: Victim, answer: Answer, seconds: float
) -> tuple[list[Outcome], float, Experience]:
    """Answer calls of each face in turn, for so long: how they ended, the share of the core that it
    took, and what the neighbour saw."""
    end = time.monotonic() + seconds
    used = Busy()
    outcomes: list[Outcome] = []
    took: list[float] = []
    while not outcomes or time.monotonic() < end or (len(took) < LEAST_CALLS and seconds):
        for face in FACES:
            with answering(answer) as server:
                outcomes.append(victim.call(server.port, face))
            took += outcomes[-1].took
    return outcomes, used.share(), Experience(took, [])


def attack_client(victim: Victim, answer: Answer, seconds: float) -> Attacked:
    outcomes, share, seen = answer_client(victim, answer, seconds)
    wrong = {outcome.code for outcome in outcomes} - {answer.code}
    row = Row(
        f"a client: {answer.name}",
        len(outcomes),
        " ".join([answer.code.name, *answer.limits]),
        max(outcome.growth for outcome in outcomes),
        max(outcome.left for outcome in outcomes),
        *(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0),
        [f"the call ended with {code.name}" for code in wrong],
    )
    if any(outcome.reply != "hello" for outcome in outcomes):
        row.faults.append("the next call was not served")
    if max(row.growth, row.left) > answer.most_bytes:
        row.faults.append(f"{row.growth / MIB:.1f} MiB held, {row.left / MIB:.1f} MiB kept")
    return row, seen, share


# ---------------------------------------------------------------------- what is shown


def table_of(rows: Iterable[Row], title: str) -> Table:
    table = Table(title=title)
    for column in ("attack", "times", "end", "MiB held", "MiB kept", "handlers"):
        table.add_column(column)
    for column in ("calls", "busy", "p99 idle", "control", "attack", "ratio", "verdict"):
        table.add_column(column)
    for row in rows:
        table.add_row(
            row.name,
            str(row.times),
            row.end,
            f"{row.growth / MIB:.1f}",
            f"{row.left / MIB:.1f}",
            str(row.handlers),
            str(row.calls),
            f"{row.share:.0%}",
            *(f"{one * 1e3:.2f}" for one in (row.p99_idle, row.p99_control, row.p99)),
            f"{row.p99_ratio:.1f}",
            "; ".join(row.faults)
            or ("survived" if row.p99_idle <= MOST_IDLE_S else "survived; no verdict on times"),
        )
    return table


@click.command()
@click.option("--seconds", default=6.0, help="For each attack.", show_default=True)
@click.option("--only", default="", help="Attacks with this in their name.")
def main(seconds: float, only: str) -> None:
    """Attack a server and a client in every known way, and say what came of it."""
    console = Console(width=200)
    server_core, attackers_core = cores()
    with pinned(server_core):
        target = Process()
    report: dict[str, Any] = {"pinned": CAN_PIN}
    rows: list[Row] = []
    with pinned(attackers_core):
        families = [one for one in CALM + HARMLESS if only in one.name]
        if families:
            for family in WARM_UP:
                attack(target, family)
            baselines = Baselines(lambda length: quiet(target, length), max(seconds * 2, 12.0))
            attacked = [attack_server(target, family, seconds) for family in families]
            baselines.take()
            rows += [conclude(*one, baselines) for one in attacked]
            report["baselines"] = baselines.p99
            console.print(table_of(rows, f"p99 of a neighbour, in ms: {baselines}"))
        answers = [one for one in ANSWERS if "client" in only or only in one.name]
        answers = [one for one in answers if one.limits or one.counts]
        if answers:
            clients = all_clients(server_core, answers, seconds, report, console)
            rows += clients
        honest = []
        for one in HONEST:
            if only in one.name:
                began = time.monotonic()
                faults = use(target, one, one.many)
                took = time.monotonic() - began
                console.print(f"{one.many} × {one.name}, {took:.0f} s: {faults or 'served'}")
                honest.append({"name": one.name, "count": one.many, "took": took, "faults": faults})
        target.stop()
    report |= {"seconds": seconds, "only": only, "python": platform.python_version()}
    report["attacks"] = [asdict(row) for row in rows]
    report["honest"] = honest
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    bad = [row.name for row in rows if row.faults] + [one for one in honest if one["faults"]]
    console.print(f"{len(rows)} attacks and {len(honest)} extremes, {len(bad)} of them with faults")
    unfit = any(row.p99_idle > MOST_IDLE_S for row in rows)
    if unfit:
        console.print("the machine does other work: no verdict on the neighbour's p99")
    sys.exit(1 if bad else 2 if unfit else 0)


def all_clients(
    core: set[int],
    answers: list[Answer],
    seconds: float,
    report: dict[str, Any],
    console: Console,
) -> list[Row]:
    """Attack a client on that core; the server that its neighbour calls is there too."""
    with pinned(core):
        good = Process()
        victim = Victim(good.port)
    for answer in [GOOD, *answers]:
        answer_client(victim, answer, 0)
    baselines = Baselines(
        lambda length: answer_client(victim, GOOD, length)[2], max(seconds, LEAST_CALLS * EVERY_S)
    )
    attacked = [attack_client(victim, answer, seconds / 2) for answer in answers]
    baselines.take()
    rows = [conclude(*one, baselines) for one in attacked]
    victim.stop()
    good.stop()
    report["client_baselines"] = baselines.p99
    console.print(table_of(rows, f"p99 of a neighbour in the client, in ms: {baselines}"))
    return rows


if __name__ == "__main__":
    main()
