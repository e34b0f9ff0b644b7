"""However the bytes are cut on their way, the streams tell the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .stories import SIDES, Teller, goaway, serving
from .wires import PREFACE, FrameType, frames

LAST = {"server": 0, "client": 7}


def bytes_of(side: str) -> bytes:
    return SIDES[side][1] + goaway(LAST[side])


def places(side: str) -> list[int]:
    """Where to cut, but not within the head of a CONTINUATION frame.

    Each piece of one counts as a frame for libnghttp2, which ends a connection after eight.
    """
    data = bytes_of(side)
    position = len(PREFACE) if side == "server" else 0
    spared: set[int] = set()
    for kind, _, _, payload in frames(data[position:]):
        if kind is FrameType.CONTINUATION:
            spared.update(range(position + 1, position + 9))
        position += 9 + len(payload)
    return [cut for cut in range(1, len(data)) if cut not in spared]


def tell(side: str, cuts: list[int], *, answer: bool) -> object:
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
    length = len(bytes_of(side))
    different = [cut for cut in range(1, length) if tell(side, [cut], answer=answer) != whole]
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
