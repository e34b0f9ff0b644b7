"""A server under each known kind of attack: it lives, and nobody else notices."""

from __future__ import annotations

import pytest

from tests.abuse.families import CALM, HARMLESS, Family
from tests.abuse.honest import HONEST, Honest, use
from tests.abuse.neighbour import Neighbour
from tests.abuse.target import Process
from tests.abuse.verdicts import attack


@pytest.mark.parametrize("family", CALM + HARMLESS, ids=lambda family: family.name)
def test_it_is_survived(target: Process, family: Family) -> None:
    verdict = attack(target, family)
    while family.reads and verdict.lost:
        verdict = attack(target, family)
    assert verdict.faults == [], verdict


def test_a_neighbour_is_served_meanwhile(target: Process) -> None:
    neighbour = Neighbour(target.port)
    target.neighbours = 1
    for family in CALM:
        attack(target, family)
    target.neighbours = 0
    experience = neighbour.leave()
    assert experience.errors == []
    assert len(experience.took) > 1


@pytest.mark.parametrize("honest", HONEST, ids=lambda honest: honest.name)
def test_honest_extremes_are_not_punished(target: Process, honest: Honest) -> None:
    assert use(target, honest, honest.few) == []
