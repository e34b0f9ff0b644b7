"""What a connection and a stream on which nothing happens cost a server."""

from __future__ import annotations

import pytest

from tests.endurance.memory import KIB
from tests.endurance.programs import LOOPS, report_of, serving


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("kind", "count", "most"), [("connections", 1_000, 64 * KIB), ("streams", 10_000, 8 * KIB)]
)
def test_memory_of_the_idle(kind: str, count: int, most: int, loop: str) -> None:
    with serving("idle", "serve", loop) as port:
        assert report_of("idle", kind, loop, "--port", port, "--count", count) < most
