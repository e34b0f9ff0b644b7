"""What these tests attack: a server and a client for each worker, which are to survive it all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.abuse.evil import ANSWERS, BOMBS, answering
from tests.abuse.families import WARM_UP
from tests.abuse.target import Process
from tests.abuse.verdicts import attack
from tests.abuse.victim import FACES, Victim


@pytest.fixture(scope="session")
def target() -> Iterator[Process]:
    process = Process()
    for family in WARM_UP:
        attack(process, family)
    yield process
    log = process.stop()
    assert "Traceback" not in log
    assert "Error" not in log


@pytest.fixture(scope="session")
def victim() -> Iterator[Victim]:
    good = Process()
    client = Victim(good.port)
    for answer in ANSWERS[:1] + BOMBS:
        for face in FACES:
            with answering(answer) as server:
                client.call(server.port, face)
    yield client
    assert "Traceback" not in client.stop()
    good.stop()
