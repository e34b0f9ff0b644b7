"""Runs cases one after the other and says how each ended."""

from __future__ import annotations

import argparse
import json
import time
import traceback

from tests.interop import cases, flags
from tests.interop.faces import CallFailed, Face, StatusLost

ALL = "all"
ATTEMPTS = 5


def named(text: str) -> list[str]:
    """The cases that `--test_case` means; SystemExit for one that is not known."""
    if text == ALL:
        return [name for name in cases.ALL if name not in cases.HTTP2]
    names = text.split(",")
    if unknown := [name for name in names if name not in cases.ALL]:
        known = ", ".join(cases.ALL)
        raise SystemExit(f"--test_case={unknown[0]!r} is not known; {ALL} and these are: {known}")
    return names


def run_case(face: Face, setting: cases.Setting, name: str) -> None:
    """One case, and again where the client's own library has lost how it ended."""
    for attempts_left in range(ATTEMPTS - 1, -1, -1):
        try:
            return face.run(cases.ALL[name](setting))
        except StatusLost:
            if not attempts_left:
                raise


def run_cases(face: Face, arguments: argparse.Namespace) -> int:
    """The number of cases that failed, as an exit status."""
    setting = cases.Setting(face, flags.soak_options(arguments))
    failures = 0
    for name in named(arguments.test_case):
        started = time.perf_counter()
        error = reason = None
        try:
            run_case(face, setting, name)
        except Exception as caught:
            error = caught
            reason = str(caught) if isinstance(caught, (AssertionError, CallFailed)) else None
            reason = reason or "".join(traceback.format_exception(caught))
            failures += 1
        taken = time.perf_counter() - started
        if arguments.json:
            line = {"case": name, "seconds": round(taken, 3), "error": reason}
            print(json.dumps(line), flush=True)
        else:
            print(f"{name}: {'ok' if error is None else f'FAILED: {reason}'}", flush=True)
    return min(failures, 1)
