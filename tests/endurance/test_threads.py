"""Threads that share a blocking channel lose no call, whatever becomes of the server."""

from __future__ import annotations

from tests.endurance.programs import report_of

# `python -m tests.endurance.threads call` runs for a minute.
SECONDS = 10
EVERY = 2


def test_every_call_ends_once_and_nothing_is_left() -> None:
    seen = report_of("threads", "call", "--seconds", SECONDS, "--every", EVERY, "--threads", 64)
    assert seen["wrong"] == []
    assert seen["ended"] == seen["started"] == seen["counted"]
    assert seen["after"] == seen["before"]
    assert seen["killed"] >= 2
    assert {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"} <= seen["outcomes"].keys()
