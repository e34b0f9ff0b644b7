"""The targets keep a loop for all inputs of a process: opened before the first test, closed after
the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuzz.stage import Stage
from fuzz.targets import DICTIONARIES, load


@pytest.fixture(scope="session", autouse=True)
def stages() -> Iterator[None]:
    for name in DICTIONARIES:
        for one in load(name).seeds():
            load(name).check(one)
    yield
    Stage.close_all()
