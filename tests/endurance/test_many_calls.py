"""Two hundred thousand calls of every kind and every end, and nothing of them is left."""

from __future__ import annotations

import pytest

from tests.endurance.memory import KIB, MIB
from tests.endurance.programs import LOOPS, report_of

CALLS = 200_000 // len(LOOPS)
TENTH = CALLS // 10

# One thing kept by one call in a hundred would be 600 of them, or half as many again.
MOST_OBJECTS = 300
MOST_RESIDENT = 4 * MIB
MOST_TRACED = 64 * KIB


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hundred_thousand_calls_leave_nothing(loop: str) -> None:
    seen = report_of("calls", loop, "--count", CALLS)
    assert seen["made"] == CALLS
    assert seen["outcomes"] == {
        "OK": 7 * TENTH,
        "CANCELLED": TENTH,
        "DEADLINE_EXCEEDED": TENTH,
        "NOT_FOUND": TENTH,
    }
    assert seen["complaints"] == [], "logged at warning or above"
    assert seen["gates"] == 0
    for left in seen["left"]:
        assert {name: left[name] for name in ("handlers", "streams", "unread")} == {
            "handlers": 0,
            "streams": 0,
            "unread": 0,
        }
    # The server's connection and the client's, the threads of the pool: as many as after the
    # first phase, and none when the server has stopped.
    first, *_, last = seen["left"]
    for name in ("connections", "tasks", "descriptors"):
        assert last[name] == first[name], name
    assert seen["after"] == seen["before"], "threads, descriptors, tasks"
    assert seen["grown"]["objects"] < MOST_OBJECTS
    assert seen["grown"]["blocks"] < MOST_OBJECTS
    assert seen["grown"]["resident"] < MOST_RESIDENT
    assert seen["grown_traced"] < MOST_TRACED
