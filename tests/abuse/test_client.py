"""A client of a bad server: its call ends with the right status, and the next one is served."""

from __future__ import annotations

import pytest

from tests.abuse.evil import ANSWERS, Answer, answering
from tests.abuse.victim import FACES, Victim


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_the_call_ends_and_the_next_is_served(victim: Victim, answer: Answer, face: str) -> None:
    with answering(answer) as server:
        outcome = victim.call(server.port, face)
    assert (outcome.code, outcome.reply) == (answer.code, "hello")
    assert server.connections == (1 if answer.lives else 2)
    assert outcome.limits == dict.fromkeys(answer.limits | answer.counts, 1)
    # What waits for a server that does not read is lost with the connection.
    if answer.limits and answer.reads:
        (name,) = answer.limits
        assert (11, name.encode()) in server.goaways
    assert outcome.growth <= answer.most_bytes
    assert outcome.left <= answer.most_bytes
    # The neighbour's calls were good: otherwise the client had failed.
    assert outcome.took
