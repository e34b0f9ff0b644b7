"""A few seconds of a soak, which `make soak` runs for as long as one likes, and its judges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.endurance.programs import ROOT
from tests.endurance.soak import verdict
from tests.endurance.soak.calls import Plan, Tally
from tests.endurance.soak.processes import Process

ONE = Plan("unary", "answered", [b"x"], [b"y"], 1.0, "key")
HOUR = 3600


def test_a_short_soak_passes(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    command = [sys.executable, "-m", "tests.endurance.soak", "--minutes", "0.15"]
    done = subprocess.run(
        [*command, "--report", str(report)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seen = json.loads(report.read_text())
    assert (seen["complaints"], seen["verdict"]) == ([], "passed"), done.stdout + done.stderr
    assert done.returncode == 0
    assert seen["answered"] > 100
    assert sum(seen["faults"].values()) >= 1
    assert len(seen["processes"]) == 8


@pytest.mark.parametrize(
    ("code", "replies", "key", "wrong"),
    [
        ("OK", [b"y"], "key", 0),
        ("OK", [b"z"], "key", 1),
        ("OK", [b"y"], "another", 1),
        ("OK", [], "key", 1),
        ("UNAVAILABLE", [], None, 0),
        ("UNAVAILABLE", [b"z"], None, 1),
        ("INTERNAL", [], None, 1),
        ("NOT_FOUND", [], None, 1),
    ],
)
def test_answers_are_checked(code: str, replies: list[bytes], key: str | None, wrong: int) -> None:
    tally = Tally()
    tally.count(ONE, "server", code, replies, key)
    assert tally.wrong_count == wrong


def judged(memory: list[int], minutes: float, **end: Any) -> list[str]:
    process = Process("one", "servers", [], steady=True, ours=True)
    process.samples = [{"memory": size} for size in memory]
    process.end = end
    process.status = 0
    faults: list[str] = verdict.judge_process(process, minutes)["faults"]
    return faults


def test_memory_that_grows_for_an_hour_is_found() -> None:
    flat = [2000] * 600 + [1000] * 3000
    assert judged(flat, 60, started=1) == []
    grown = [1000 + second // 60 for second in range(HOUR)]
    assert judged(grown, 60, started=1) == ["memory grew by 3.9%; 1.0% is allowed"]


def test_what_is_left_and_logged_is_found() -> None:
    faults = judged([1], 1, tasks_left=2, left=["socket"], complaints=["server: failed"])
    assert faults == [
        "tasks_left: 2", "left behind: ['socket']", "logged: ['server: failed']"
    ]  # fmt: skip


@pytest.mark.parametrize(("minutes", "allowed"), [(120, 0.01), (60, 0.01), (20, 0.03), (5, 0.1)])
def test_short_runs_are_allowed_more(minutes: float, allowed: float) -> None:
    assert verdict.allowed_growth(minutes) == pytest.approx(allowed)
