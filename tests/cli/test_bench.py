"""`gyr bench`: how many calls of which pattern it makes, what it counts, what it prints."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from tests.call.service import SAFETY_NET_S
from tests.cli.running import Ran, run, start
from tests.cli.zoo import PROTOS, keeper, serving

QUICK = ("--warmup", "0", "--json", "-")


def bench(target: str, method: str, *arguments: str) -> Any:
    ran = run("bench", target, method, *QUICK, *arguments)
    assert (ran.status, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("method", "data", "requests", "replies"),
    [
        ("Greet", ["{}", "{}"], 30, 30),
        ("Parade", ['{"weight": 2}'], 30, 60),
        ("Count", ["{}", "{}", "{}"], 90, 30),
        ("Echo", ["{}", "{}"], 60, 60),
    ],
)
@pytest.mark.parametrize("how", [["-c", "4"], ["--rate", "3000"]])
def test_each_pattern_with_each_kind_of_load(
    target: str, method: str, data: list[str], requests: int, replies: int, how: list[str]
) -> None:
    given = [word for one in data for word in ("-d", one)]
    found = bench(target, f"zoo.Keeper/{method}", "-n", "30", "--connections", "2", *how, *given)
    kept = ("calls", "requests", "replies", "statuses", "errors", "interrupted", "connections")
    assert {key: found[key] for key in kept} == {
        "calls": 30,
        "requests": requests,
        "replies": replies,
        "statuses": {"OK": 30},
        "errors": {},
        "interrupted": False,
        "connections": 2,
    }
    assert sum(row["calls"] for row in found["histogram"]) == 30


def test_duration_bounds_a_run(target: str) -> None:
    found = bench(target, "zoo.Keeper/Greet", "-c", "2", "--duration", "200ms", "--warmup", "10ms")
    assert found["calls"] == found["statuses"]["OK"] > 0
    assert found["duration_s"] >= 0.2


def test_a_rate_makes_so_many_calls_in_its_time(target: str) -> None:
    found = bench(target, "zoo.Keeper/Greet", "--rate", "100", "--duration", "0.2")
    assert (found["calls"], found["rate"], found["concurrency"]) == (20, 100.0, 10_000)
    assert found["duration_s"] >= 0.19


def test_failures_are_counted_by_code(target: str) -> None:
    data = ["-d", '{"name": "lost"}', "-d", '{"name": "found"}']
    ran = run("bench", target, "zoo.Keeper/Greet", *QUICK, "-n", "10", *data)
    found = json.loads(ran.stdout)
    assert (ran.status, found["statuses"]) == (1, {"OK": 5, "NOT_FOUND": 5})
    assert found["errors"] == {"NOT_FOUND": "no animal 'lost'\n\x1b[31mHint: none"}
    assert sum(row["calls"] for row in found["histogram"]) == 5


def test_the_report_and_the_file(target: str, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    ran = run("bench", target, "zoo.Keeper/Greet", "-n", "5", "--warmup", "0", "--json", str(file))
    assert (ran.status, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0] == f"zoo.Keeper/Greet on {target}"
    assert lines[1].startswith("50 calls at once, 1 connection, ")
    assert lines[3].split()[:2] == ["calls", "5"]
    assert lines[4].split() == ["OK", "5", "100", "%"]
    assert json.loads(file.read_text(encoding="utf-8"))["calls"] == 5


def test_a_file_that_cannot_be_written(target: str) -> None:
    ran = run(
        *("bench", target, "zoo.Keeper/Greet", "-n", "1", "--warmup", "0"),
        *("--json", "/no/such/file"),
    )
    expected = "Error: cannot write '/no/such/file': No such file or directory\n"
    assert ran == Ran(1, "", expected)


def test_ctrl_c_reports_what_was_done() -> None:
    seen: Queue[str] = Queue()
    data = ["-d", '{"name": "slow"}', "-d", '{"name": "quick"}']
    with serving(keeper(seen.put)) as target:
        arguments = ["bench", target, "zoo.Keeper/Greet", *QUICK, *data, "-c", "3"]
        with start(*arguments, "--proto", PROTOS / "zoo.proto") as process:
            # Three workers: the second gets every quick one, until it has a slow one too.
            names = [seen.get(timeout=SAFETY_NET_S) for _ in range(5)]
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate()
    assert sorted(names) == ["quick", "quick", "slow", "slow", "slow"]
    found = json.loads(stdout)
    assert (process.returncode, stderr, found["interrupted"]) == (130, "", True)
    assert found["statuses"] == {"OK": 2}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-n", "1", "-t", "1"], "--duration and --requests exclude each other"),
        (["--rate", "0"], "0.0 is not in the range x>0"),
        (["-d", "@/dev/null"], "no request was given: leave -d out for an empty one"),
    ],
)
def test_what_makes_no_sense(target: str, arguments: list[str], expected: str) -> None:
    ran = run("bench", target, "zoo.Keeper/Greet", *arguments)
    assert (ran.status, ran.stdout) == (2, "")
    assert expected in ran.stderr


def test_a_terminal_sees_a_progress_bar_and_no_other_stderr(target: str) -> None:
    terminal, inside = os.openpty()
    arguments = ("bench", target, "zoo.Keeper/Greet", "-n", "50", "--warmup", "10ms")
    with start(*arguments, "--json", "-", stderr=inside) as process:
        os.close(inside)
        shown = b"".join(iter(lambda: read_terminal(terminal), b"")).decode()
        os.close(terminal)
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["calls"] == 50
    assert process.returncode == 0
    assert "warm-up" in shown
    assert "measuring" in shown


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side was closed
        return b""
