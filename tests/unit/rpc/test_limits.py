"""The list of limits, and how often they were met."""

from __future__ import annotations

import pytest

from gyrfalcon.rpc.limits import LIMITS, add_counts, named, number_of


def test_each_limit_has_a_name_and_a_number_of_its_own() -> None:
    assert [number_of(limit.name) for limit in LIMITS] == list(range(len(LIMITS)))


def test_a_limit_that_is_not_listed_cannot_be_counted() -> None:
    with pytest.raises(KeyError, match="max_nonsense"):
        number_of("max_nonsense")


def test_counts_are_shown_by_name_without_those_that_are_zero() -> None:
    counts = [0] * len(LIMITS)
    counts[number_of("max_send_bytes")] = 3
    counts[-1] = 1
    assert named(counts) == {"max_send_bytes": 3, LIMITS[-1].name: 1}


def test_counts_add_up() -> None:
    total = {"a": 1, "b": 2}
    assert add_counts(total, {"b": 3, "c": 4}) == {"a": 1, "b": 5, "c": 4}
    assert total == {"a": 1, "b": 5, "c": 4}
