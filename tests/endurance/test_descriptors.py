"""A server whose process has few descriptors survives more connections than that."""

from __future__ import annotations

import pytest

from tests.endurance.descriptors import measure
from tests.endurance.programs import LOOPS

FILES, CONNECTIONS = 256, 1000
# asyncio stops accepting for a second when it runs out of descriptors.
AT_ONCE_S = 1.0


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_with_few_descriptors_survives_many_connections(loop: str) -> None:
    seen = measure(loop, FILES, CONNECTIONS)
    assert seen["errors"] == []
    assert set(seen["limits"]) <= {"max_connections", "handshake_timeout"}  # type: ignore[call-overload]
    assert seen["limits"]["max_connections"] >= CONNECTIONS - FILES  # type: ignore[index]
