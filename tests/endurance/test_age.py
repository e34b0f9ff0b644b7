"""No call fails when connections grow old under load.

`python -m tests.endurance.age uvloop measure 1 105` has a hundred ages of a second for each client.
"""

from __future__ import annotations

import pytest

from tests.endurance.age import CLIENTS, measure


@pytest.mark.parametrize("client", CLIENTS)
def test_no_call_fails_when_connections_grow_old(client: str) -> None:
    seen = measure("uvloop", client, 0.2, 3)
    assert seen["errors"] == []
    assert seen["ages"] >= 5
    assert seen["calls"] > seen["ages"]
