"""Connections, servers and channels that come and go leave nothing open."""

from __future__ import annotations

import pytest

from tests.endurance.memory import MIB
from tests.endurance.programs import LOOPS, report_of

MOST_GROWTH = 4 * MIB


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("scenario", "count"), [("connections", 5_000), ("servers", 200), ("channels", 500)]
)
def test_what_came_is_gone(scenario: str, count: int, loop: str) -> None:
    seen = report_of("coming_and_going", loop, scenario, "--count", count)
    assert seen["after"] == seen["before"]
    assert seen["grown"] < MOST_GROWTH
