"""However the bytes are cut on their way, the streams tell the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .stories import SIDES, Teller, goaway, serving

LAST = {"server": 0, "client": 7}


def bytes_of(side: str) -> bytes:
    return SIDES[side][1] + goaway(LAST[side])


def places(side: str) -> range:
    """Where to cut: everywhere."""
    return range(1, len(bytes_of(side)))


def tell(side: str, cuts: Sequence[int], *, answer: bool) -> object:
    data = bytes_of(side)
    teller: Teller = SIDES[side][0]()
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        teller.receive(data[start:stop])
        if answer:
            teller.connection.take_output()
    teller.connection.take_output()
    teller.listen()
    return teller.told()


def test_the_whole_bytes_tell_this() -> None:
    """So that the comparisons below compare something."""
    teller = serving()
    teller.receive(SIDES["server"][1])
    kinds = {
        stream_id: [one[0] for one in story if isinstance(one, tuple)]
        for stream_id, story in teller.stories.items()
    }
    assert kinds == {
        1: ["head", "message", "message", "end"],
        3: ["head", "message", "fault"],
        5: ["head", "end"],
        7: ["head", "message", "closed"],
        9: ["head", "message", "fault"],
    }
    assert teller.connection.failure is None


@pytest.mark.parametrize("answer", [True, False], ids=["answering between", "answering at the end"])
@pytest.mark.parametrize("side", SIDES)
def test_two_pieces_tell_the_same_wherever_they_are_cut(side: str, answer: bool) -> None:
    whole = tell(side, [], answer=answer)
    different = [cut for cut in places(side) if tell(side, [cut], answer=answer) != whole]
    assert different == []


@pytest.mark.parametrize("answer", [True, False], ids=["answering between", "answering at the end"])
@pytest.mark.parametrize("side", SIDES)
def test_byte_by_byte_tells_the_same(side: str, answer: bool) -> None:
    assert tell(side, places(side), answer=answer) == tell(side, [], answer=answer)


@pytest.mark.parametrize("side", SIDES)
@given(data=st.data())
def test_any_pieces_tell_the_same(side: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.sampled_from(places(side)), max_size=40)))
    assert tell(side, cuts, answer=True) == tell(side, [], answer=True)
