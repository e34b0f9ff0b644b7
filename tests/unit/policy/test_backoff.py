"""The schedule of connection attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon.policy import Attempt, ConnectionBackoff

CENTRE = 0.5  # the random number that means no jitter


def test_delays_grow_from_one_second_to_two_minutes() -> None:
    backoff = ConnectionBackoff()
    delays = [backoff.attempt(0.0, CENTRE).retry_at for _ in range(13)]
    expected = [1.6**n for n in range(11)] + [120.0, 120.0]
    assert delays == pytest.approx(expected)


def test_an_attempt_gets_the_connect_timeout_or_its_whole_delay() -> None:
    backoff = ConnectionBackoff(initial=15, multiplier=2, connect_timeout=20)
    assert backoff.attempt(100.0, CENTRE) == Attempt(deadline=120.0, retry_at=115.0)
    assert backoff.attempt(200.0, CENTRE) == Attempt(deadline=230.0, retry_at=230.0)


def test_the_first_delay_has_no_jitter() -> None:
    assert ConnectionBackoff().attempt(5.0, 0.0).retry_at == 6.0


def test_jitter_is_a_fifth_either_way() -> None:
    delays = []
    for uniform in (0.0, 0.25, 0.75, 1.0):
        backoff = ConnectionBackoff(initial=10, multiplier=1)
        backoff.attempt(0.0, uniform)
        delays.append(backoff.attempt(0.0, uniform).retry_at)
    assert delays == pytest.approx([8.0, 9.0, 11.0, 12.0])


def test_reset_starts_over() -> None:
    backoff = ConnectionBackoff()
    for _ in range(5):
        backoff.attempt(0.0, CENTRE)
    backoff.reset()
    assert backoff.attempt(0.0, CENTRE).retry_at == 1.0
    assert backoff.attempt(0.0, CENTRE).retry_at == pytest.approx(1.6)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
def test_jitter_never_accumulates_and_never_leaves_its_band(randoms: list[float]) -> None:
    backoff = ConnectionBackoff()
    for attempt, uniform in enumerate(randoms):
        base = min(1.6**attempt, 120.0)
        bounds = backoff.attempt(1000.0, uniform)
        assert base * 0.799 <= bounds.retry_at - 1000.0 <= base * 1.201
        assert bounds.deadline >= max(bounds.retry_at, 1020.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial", 0),
        ("multiplier", 0.9),
        ("jitter", 1),
        ("jitter", -0.1),
        ("maximum", 0.5),
        ("connect_timeout", 0),
    ],
)
def test_values_that_make_no_schedule_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"backoff {name} is {value}: it must be"):
        ConnectionBackoff(**{name: value})
