"""What a soak has shown: answers, what is left, and whether memory stays flat."""

from __future__ import annotations

import statistics
from typing import Any

from tests.endurance.soak.processes import Process

# A sixth of the run is for what is allocated once, and for allocators to find their size: ten
# minutes of an hour. Memory is the median over a sixth: that after the first, and the last.
PARTS = 6
GROWTH_IN_AN_HOUR = 0.01
MOST_GROWTH = 0.10
SHORTEST_MINUTES = 5.0
"""of runs whose memory says anything"""


def allowed_growth(minutes: float) -> float:
    """One per cent in an hour or longer; in proportion more in a shorter run, at most 10 %."""
    return min(GROWTH_IN_AN_HOUR * max(60.0 / minutes, 1.0), MOST_GROWTH)


def memory(samples: list[dict[str, Any]]) -> tuple[float, float]:
    """Medians in bytes: after the warm-up, and at the end."""
    size = max(len(samples) // PARTS, 1)
    sizes = [sample["memory"] for sample in samples]
    return statistics.median(sizes[size : 2 * size] or sizes), statistics.median(sizes[-size:])


def judge_process(process: Process, minutes: float) -> dict[str, Any]:
    """What one process did, and what is wrong with it."""
    end = process.end or {}
    faults = []
    lives = [*process.past, *([end] if end else [])]
    wrong = sum(life.get("wrong", 0) for life in lives)
    if wrong:
        texts = [text for life in lives for text in life.get("wrong_texts", ())]
        faults.append(f"{wrong} wrong answers: {texts[:3]}")
    if process.status != 0 or not end:
        faults.append(f"did not end as it should (status {process.status})")
    if process.ours:
        # What grpcio leaves behind, and logs, is not ours to judge.
        for name in ("tasks_left", "connections_left"):
            if end.get(name):
                faults.append(f"{name}: {end[name]}")
        if end.get("left"):
            faults.append(f"left behind: {end['left']}")
        if end.get("complaints"):
            faults.append(f"logged: {end['complaints'][:3]}")
    found: dict[str, Any] = {
        "killed": process.killed,
        "calls": sum(life.get("started", 0) for life in lives),
        "outcomes": merge([life.get("outcomes", {}) for life in lives]),
        "wrong": wrong,
    }
    if process.steady and process.samples:
        before, after = memory(process.samples)
        growth = after / before - 1
        found |= {
            "memory_before": int(before), "memory_after": int(after), "growth": round(growth, 4)
        }  # fmt: skip
        if process.ours and minutes >= SHORTEST_MINUTES and growth > allowed_growth(minutes):
            faults.append(f"memory grew by {growth:.1%}; {allowed_growth(minutes):.1%} is allowed")
    return found | {"faults": faults}


def merge(outcomes: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in outcomes:
        for code, count in one.items():
            total[code] = total.get(code, 0) + count
    return dict(sorted(total.items()))


def judge(
    processes: list[Process], minutes: float, faults: list[tuple[float, str]]
) -> dict[str, Any]:
    """The whole report."""
    found = {process.name: judge_process(process, minutes) for process in processes}
    complaints = [f"{name}: {fault}" for name, one in found.items() for fault in one["faults"]]
    answered = sum(one["outcomes"].get("OK", 0) for one in found.values())
    if not answered:
        complaints.append("no call was answered")
    counted: dict[str, int] = {}
    for _, name in faults:
        counted[name] = counted.get(name, 0) + 1
    return {
        "minutes": round(minutes, 2),
        "criterion": (
            f"memory may grow by {allowed_growth(minutes):.1%} from the second sixth of the run"
            " to the last"
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
