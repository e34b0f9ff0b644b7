"""The server that these tests attack: one for each worker, which has to survive them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.abuse.families import CALM, HARMLESS
from tests.abuse.target import Process
from tests.abuse.verdicts import attack


@pytest.fixture(scope="session")
def target() -> Iterator[Process]:
    process = Process()
    # What the first of a kind allocates is not the cost of one more.
    for family in CALM[:2] + HARMLESS[2:]:
        attack(process, family)
    yield process
    log = process.stop()
    assert "Traceback" not in log
    assert "Error" not in log
