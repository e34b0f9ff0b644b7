"""Polling again before sleep: while it pays, and hardly ever where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from gyrfalcon.transport.lingering import Lingering, set_linger

FIRST_PAUSE = 8
LONGEST_PAUSE = 256


class Loop:
    """As much of a loop as is kept turning."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def turn(self) -> bool:
        """Run what is to be called; whether something is again."""
        due, self.soon = self.soon, []
        for callback in due:
            callback()
        return bool(self.soon)


def read(lingering: Lingering, loop: Loop) -> bool:
    """Bytes come; whether the loop is kept turning."""
    lingering.note_read(cast("Any", loop))
    return bool(loop.soon)


def pauses(lingering: Lingering, loop: Loop) -> int:
    """Reads after which the loop sleeps at once, up to the next after which it does not."""
    count = 0
    while not read(lingering, loop):
        count += 1
    return count


def miss(loop: Loop) -> None:
    while loop.turn():
        pass


def test_it_turns_until_its_time_is_over() -> None:
    lingering, loop = Lingering(), Loop()
    assert read(lingering, loop)
    miss(loop)
    assert loop.soon == []


def test_it_goes_on_while_bytes_come() -> None:
    lingering, loop = Lingering(), Loop()
    turns = [read(lingering, loop) and loop.turn() for _ in range(1000)]
    assert turns == [True] * 1000
    assert len(loop.soon) == 1


def test_misses_lengthen_the_pauses_up_to_the_longest() -> None:
    lingering, loop = Lingering(), Loop()
    found = []
    for _ in range(5):
        found.append(pauses(lingering, loop))
        miss(loop)
    assert found == [0, FIRST_PAUSE, 64, LONGEST_PAUSE, LONGEST_PAUSE]


def test_bytes_that_come_shorten_them() -> None:
    lingering, loop = Lingering(), Loop()
    for _ in range(3):
        pauses(lingering, loop)
        miss(loop)
    assert pauses(lingering, loop) == LONGEST_PAUSE
    for _ in range(8):  # 256, halved each time
        assert read(lingering, loop)
        assert loop.turn()
    miss(loop)
    assert pauses(lingering, loop) == FIRST_PAUSE


@pytest.mark.parametrize("text", ["", "x", "-1", "1001", "nan"])
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="GYRFALCON_LINGER") as refused:
        set_linger(text)
    assert str(refused.value) == (
        f"GYRFALCON_LINGER={text!r} in the environment is no number of microseconds from 0 to "
        "1000; 0 lets loops sleep at once"
    )


def test_none_lets_loops_sleep_at_once() -> None:
    lingering, loop = Lingering(), Loop()
    set_linger("0")
    try:
        assert [read(lingering, loop) for _ in range(10)] == [False] * 10
    finally:
        set_linger("100")
    assert read(lingering, loop)
