"""Connections that do not finish their handshake hold nobody up, and are gone after its time.

`python -m tests.endurance.silent uvloop measure 5000 20 200` has the figures of more.
"""

from __future__ import annotations

import pytest

from tests.endurance.programs import LOOPS
from tests.endurance.silent import KINDS, measure


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loop", LOOPS)
def test_unfinished_handshakes_are_dropped_and_others_served(loop: str, kind: str) -> None:
    seen = measure(loop, kind, 300, 2, 10)
    # The server closed each of them: otherwise this would not have ended.
    assert seen["gone"] >= 1.9
