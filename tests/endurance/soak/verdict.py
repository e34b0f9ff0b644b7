"""What a soak has shown: answers, what is left, and whether memory stays flat."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from tests.endurance.soak.processes import Process

# A sixth of the run is for what is allocated once, and for allocators to find their size: ten
# minutes of an hour. What counts is the median over a twelfth, five minutes of an hour: that after
# these ten, and the last.
WARM_UP, WINDOW = 1 / 6, 1 / 12
GROWTH_IN_AN_HOUR = 0.01
MOST_GROWTH = 0.10
# Among calls a fifth more or less is what malloc happens to keep of calls that are over; this is
# for what grows and grows, and is no leak, but holes between blocks that last.
MOST_GROWTH_AMONG_CALLS = 0.5
SHORTEST_MINUTES = 5.0
"""of runs whose memory says anything"""


def allowed_growth(minutes: float) -> float:
    """What growth has to be under: one per cent in an hour or longer; in proportion more in a
    shorter run, at most 10 %."""
    return min(GROWTH_IN_AN_HOUR * max(60.0 / minutes, 1.0), MOST_GROWTH)


def medians(
    samples: list[dict[str, Any]], what: str, began: float, minutes: float
) -> tuple[float, float] | None:
    """Of a figure: after the warm-up, and at the end. By time, not by number of samples: a process
    that stands still, or a machine that is busy, makes fewer."""
    window = 60 * minutes * WINDOW
    starts = began + 60 * minutes * WARM_UP, began + 60 * minutes - window
    before, after = (
        [
            sample[what]
            for sample in samples
            if what in sample and start <= sample["at"] <= start + window
        ]
        for start in starts
    )
    if not before or not after:
        return None
    return statistics.median(before), statistics.median(after)


def judge_process(process: Process, began: float, minutes: float) -> dict[str, Any]:
    """What one process did, and what is wrong with it."""
    end = process.end or {}
    faults = []
    lives = [*process.past, *([end] if end else process.samples[-1:])]
    wrong = sum(life.get("wrong", 0) for life in lives)
    if wrong:
        texts = [text for life in lives for text in life.get("wrong_texts", ())]
        faults.append(f"{wrong} wrong answers: {texts[:3]}")
    # Whether grpcio's calls and processes end, what they leave behind and log is not ours to judge.
    if process.ours and (process.status != 0 or not end):
        faults.append(f"did not end as it should (status {process.status})")
    if process.ours and process.crashes:
        faults.append(f"ended by itself: status {process.crashes}")
    if process.ours:
        for name in ("tasks_left", "connections_left"):
            if end.get(name):
                faults.append(f"{name}: {end[name]}")
        if end.get("left"):
            faults.append(f"left behind: {end['left']}")
        if end.get("complaints"):
            faults.append(f"logged: {end['complaints'][:3]}")
    found: dict[str, Any] = {
        "killed": process.killed,
        "stuck": process.stuck,
        "calls": sum(life.get("started", 0) for life in lives),
        "outcomes": merge([life.get("outcomes", {}) for life in lives]),
        "wrong": wrong,
    }
    if process.steady:
        found |= weigh(process, began, minutes)
        if process.ours and minutes >= SHORTEST_MINUTES:
            faults += judge_growth(found, minutes)
    return found | {"faults": faults}


def weigh(process: Process, began: float, minutes: float) -> dict[str, Any]:
    """Its memory at rest, and what is in use then; its memory among calls."""
    found: dict[str, Any] = {}
    for what in ("memory", "in_use", "objects"):
        if both := medians(process.weights, what, began, minutes):
            found |= {f"{what}_before": int(both[0]), f"{what}_after": int(both[1])}
            if what == "memory":
                found["growth"] = round(both[1] / both[0] - 1, 5)
    if both := medians(process.samples, "memory", began, minutes):
        found["growth_among_calls"] = round(both[1] / both[0] - 1, 5)
    return found


def judge_growth(found: dict[str, Any], minutes: float) -> Iterator[str]:
    for name, what, allowed in (
        ("growth", "at rest", allowed_growth(minutes)),
        ("growth_among_calls", "among calls", MOST_GROWTH_AMONG_CALLS),
    ):
        if name not in found:
            yield f"memory {what} was not seen both after the warm-up and at the end"
        elif found[name] >= allowed:
            yield (f"memory {what} grew by {found[name]:.1%}; less than {allowed:.1%} is allowed")


def merge(outcomes: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in outcomes:
        for code, count in one.items():
            total[code] = total.get(code, 0) + count
    return dict(sorted(total.items()))


def judge(
    processes: list[Process], began: float, minutes: float, faults: list[tuple[float, str]],
    broken: list[str],
) -> dict[str, Any]:  # fmt: skip
    """The whole report on a run that lasted so long; `broken` is why it could not go on."""
    found = {process.name: judge_process(process, began, minutes) for process in processes}
    complaints = broken + [
        f"{name}: {fault}" for name, one in found.items() for fault in one["faults"]
    ]
    answered = sum(one["outcomes"].get("OK", 0) for one in found.values())
    if not answered:
        complaints.append("no call was answered")
    counted: dict[str, int] = {}
    for _, name in faults:
        counted[name] = counted.get(name, 0) + 1
    return {
        "minutes": round(minutes, 2),
        "criterion": (
            f"memory at rest is to grow by less than {allowed_growth(minutes):.1%}"
            f" from after the first {minutes * WARM_UP:.1f} minutes to the end"
            if minutes >= SHORTEST_MINUTES
            else f"memory is not judged in less than {SHORTEST_MINUTES:g} minutes"
        ),
        "calls": sum(one["calls"] for one in found.values()),
        "answered": answered,
        "faults": counted,
        "processes": found,
        "complaints": complaints,
        "verdict": "failed" if complaints else "passed",
    }
