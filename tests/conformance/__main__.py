"""Runs the Connect project's conformance suite against clients and servers of both faces.

    python -m tests.conformance [--mode client|server] [--face asyncio|blocking] [--run PATTERN]...

Writes build/reports/*.json, and beside them what the runner said. No case is known to fail or to
be flaky: there are no such lists.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.go_tools import ROOT, GoTool
from tests.reports import FOLDER, Report, conclude

RUNNER = GoTool("connectrpc.com/conformance/cmd/connectconformance", "v1.0.7")
CONFIG = ROOT / "tests" / "conformance" / "config.yaml"
MODES = ("client", "server")
FACES = ("asyncio", "blocking")

# A group of cases as it begins, a case that failed, and the runner's sum of it all.
STARTED = re.compile(r"^Running (\d+) tests with .*TLS:(true|false)", re.MULTILINE)
FAILED = re.compile(r"^FAILED: (.+?):?$", re.MULTILINE)
TOTAL = re.compile(r"^Total cases: (\d+)\n(\d+) passed, (\d+) failed", re.MULTILINE)
NOT_RUN = re.compile(r"^Another (\d+) could not be run", re.MULTILINE)


def read_output(output: str, mode: str, face: str, seconds: float) -> list[Report]:
    """A report for cleartext and one for TLS. ValueError where the runner's sum is another."""
    started: Counter[bool] = Counter()
    for count, tls in STARTED.findall(output):
        started[tls == "true"] += int(count)
    names = FAILED.findall(output)
    failed = Counter(uses_tls(name) for name in names)
    total = TOTAL.search(output)
    if total is None:
        raise ValueError("the runner has not come to its end")
    cases, passed, failures = map(int, total.groups())
    not_run = NOT_RUN.search(output)
    skipped = int(not_run[1]) if not_run else 0
    if (failures, passed) != (len(names), cases - failures) or started.total() != cases + skipped:
        raise ValueError(f"the runner's figures contradict each other: {total[0]!r}, {started}")
    return [
        Report(
            suite="connectconformance",
            version=RUNNER.version,
            role=mode,
            face=face,
            tls=tls,
            passed=started[tls] - failed[tls] - (skipped if tls else 0),
            failed=failed[tls],
            # The runner does not say which: they count where most else runs, so that it shows.
            skipped=skipped if tls else 0,
            seconds=round(seconds, 1),
        )
        for tls in sorted(started)
    ]


def uses_tls(case: str) -> bool:
    """By its name. What needs TLS does not say that it has it."""
    return "/TLS:false/" not in case


def run(program: Path, mode: str, face: str, patterns: Sequence[str]) -> list[Report]:
    command = [str(program), "-v", "--trace", "--mode", mode, "--conf", str(CONFIG)]
    for pattern in patterns:
        command += ["--run", pattern]
    command += ["--", sys.executable, "-m", f"tests.conformance.{mode}", "--face", face]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    seconds = time.monotonic() - began
    FOLDER.mkdir(parents=True, exist_ok=True)
    log = FOLDER / f"connectconformance-{mode}-{face}.log"
    log.write_text(done.stdout, encoding="utf-8")
    try:
        reports = read_output(done.stdout, mode, face, seconds)
    except ValueError as error:
        sys.exit(f"{done.stdout}\nconformance, {mode} {face}: {error} (exit {done.returncode})")
    for name in FAILED.findall(done.stdout):
        print(f"FAILED: {name}")
    if (done.returncode == 0) != all(report.failed == 0 for report in reports):
        sys.exit(f"{done.stdout}\nconformance, {mode} {face}: exit {done.returncode}")
    return reports


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("--mode", choices=MODES, action="append", help="what is tested (both)")
    parser.add_argument("--face", choices=FACES, action="append", help="of ours (both)")
    parser.add_argument("--run", metavar="PATTERN", action="append", help="of cases (all)")
    options = parser.parse_args()
    program = RUNNER.find()
    reports = [
        report
        for mode in options.mode or MODES
        for face in options.face or FACES
        for report in run(program, mode, face, options.run or ())
    ]
    sys.exit(conclude(reports, whole=not options.run))


if __name__ == "__main__":
    main()
