"""Connections that say nothing hold nobody up, and are gone after the time for a handshake.

`python -m tests.endurance.silent uvloop measure 5000 20 200` has the figures of more.
"""

from __future__ import annotations

import pytest

from tests.endurance.programs import LOOPS
from tests.endurance.silent import measure


@pytest.mark.parametrize("loop", LOOPS)
def test_silent_connections_are_dropped_and_others_served(loop: str) -> None:
    seen = measure(loop, 500, 3, 20)
    # Each was closed by the server: otherwise this would not have ended.
    assert seen["gone"] >= 2.9
