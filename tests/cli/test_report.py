"""What `gyr bench` prints for given figures, and how latencies are counted."""

from __future__ import annotations

import io
import math
import random

import pytest
from rich.console import Console

import gyrfalcon as gyr
from gyrfalcon.cli.latencies import Latencies
from gyrfalcon.cli.load import Tally
from gyrfalcon.cli.report import Result, Settings, as_json, show

MS = 1_000_000
OK, LOST = gyr.StatusCode.OK, gyr.StatusCode.NOT_FOUND


def counted(*latencies: int) -> Latencies:
    made = Latencies()
    for one in latencies:
        made.record(one)
    return made


def printed(result: Result) -> str:
    console = Console(file=io.StringIO(), width=100)
    show(result, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


SETTINGS = Settings("host:1", "a.B/C", 50, None, 1, 1.0)
TALLY = Tally(
    counted(*[MS] * 6, *[2 * MS] * 3, 4096 * MS),
    {OK: 10, LOST: 2},
    {LOST: "no \x1b[31m"},
    sent=24,
    received=10,
    seconds=2.0,
)

REPORT = """\
a.B/C on host:1
50 calls at once, 1 connection, 2 s

calls        12    6.0/s
  OK         10  83.33 %
  NOT_FOUND   2  16.67 %  no \\x1b[31m
requests     24   12.0/s
replies      10    5.0/s

latency      min    mean      p50      p90     p95     p99   p99.9     max
         1.00 ms  411 ms  1.00 ms  2.00 ms  4.10 s  4.10 s  4.10 s  4.10 s

1.00 ms  –  2.00 ms  ████████████████████████████████████████  6
2.00 ms  –  4.00 ms  ████████████████████                      3
4.00 ms  –  8.00 ms                                            0
8.00 ms  –  16.0 ms                                            0
16.0 ms  –  32.0 ms                                            0
32.0 ms  –  64.0 ms                                            0
64.0 ms  –   128 ms                                            0
 128 ms  –   256 ms                                            0
 256 ms  –   512 ms                                            0
 512 ms  –   1.02 s                                            0
 1.02 s  –   2.05 s                                            0
 2.05 s  –   4.10 s  ███████                                   1"""


def test_the_report() -> None:
    assert printed(Result(SETTINGS, TALLY)) == REPORT


def test_a_run_without_a_good_call_has_no_latencies() -> None:
    tally = Tally(Latencies(), {LOST: 2}, {LOST: "?"}, sent=2, received=0, seconds=1.0)
    expected = (
        "a.B/C on host:1\n50 calls at once, 1 connection, 1 s\n\n"
        "calls        2  2.0/s\n  NOT_FOUND  2  100 %  ?"
    )
    assert printed(Result(SETTINGS, tally)) == expected


def test_warnings() -> None:
    settings = Settings("host:1", "a.B/C", 10_000, 5000.0, 2, 1.0)
    tally = Tally(counted(MS), {OK: 4000}, {}, sent=4000, received=4000, seconds=1.0)
    lines = printed(Result(settings, tally)).splitlines()
    assert lines[1] == "5,000 calls/s, latency from the intended start, 2 connections, 1 s"
    assert lines[-1] == (
        "4,000.0 calls/s came out of 5,000: the server, or this generator, cannot keep up"
    )
    lines = printed(Result(settings, tally, interrupted=True)).splitlines()
    assert lines[-1] == "interrupted: this is what was done until then"


def test_json() -> None:
    found = as_json(Result(SETTINGS, TALLY))
    histogram = found.pop("histogram")
    assert found == {
        "target": "host:1",
        "method": "a.B/C",
        "rate": None,
        "concurrency": 50,
        "connections": 1,
        "warmup_s": 1.0,
        "interrupted": False,
        "duration_s": 2.0,
        "calls": 12,
        "calls_per_s": 6.0,
        "statuses": {"OK": 10, "NOT_FOUND": 2},
        "errors": {"NOT_FOUND": "no \x1b[31m"},
        "requests": 24,
        "replies": 10,
        "latency_ms": {
            "min": 1.0,
            "mean": 410.8,
            "p50": 1.0015,
            "p90": 2.0029,
            "p95": 4096.0,
            "p99": 4096.0,
            "p99.9": 4096.0,
            "max": 4096.0,
        },
    }
    assert histogram[0] == {"from_ms": 1.0, "to_ms": 2.0, "calls": 6}
    assert [row["calls"] for row in histogram] == [6, 3, *[0] * 9, 1]


def test_percentiles_are_those_of_the_sorted_latencies() -> None:
    chance = random.Random(1)
    values = [round(chance.lognormvariate(14, 2)) for _ in range(5000)]
    latencies = counted(*values)
    values.sort()
    for percent in (0.1, 1, 25, 50, 90, 99, 99.9, 100):
        exact = values[math.ceil(round(len(values) * percent / 100, 6)) - 1]
        assert latencies.percentile(percent) == pytest.approx(exact, rel=0.004)
    assert (latencies.min, latencies.max, latencies.count) == (values[0], values[-1], 5000)
    assert latencies.mean == sum(values) / 5000


@pytest.mark.parametrize(
    ("latencies", "expected"),
    [
        ([], []),
        ([7], [(7, 7, 1)]),
        ([7, 7], [(7, 7, 2)]),
        ([0], [(0, 0, 1)]),
        ([100, 800], [(100, 200, 1), (200, 400, 0), (400, 800, 1)]),
    ],
)
def test_histograms(latencies: list[int], expected: list[tuple[int, int, int]]) -> None:
    assert counted(*latencies).histogram(3) == expected


def test_without_latencies_all_is_zero() -> None:
    empty = Latencies()
    assert (empty.mean, empty.percentile(50), empty.min, empty.max) == (0.0, 0, 0, 0)


def test_memory_is_bounded() -> None:
    latencies = counted(*range(1, 10**9, 10_007))
    assert len(latencies._buckets) <= 30 * 128
