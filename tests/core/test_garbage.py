"""Bytes that nobody should send end the connection, or nothing: they never raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .stories import SIDES, Story, Teller
from .wires import ACK, PREFACE, FrameType, frame, frames

FRAME = st.builds(
    frame,
    st.sampled_from(FrameType),
    st.integers(0, 255),
    st.one_of(st.integers(0, 12), st.integers(0, 2**32 - 1)),
    st.binary(max_size=60),
)
# No connection has these: HEADERS on stream 0, with a length that no side allows.
LAST_STRAW = frame(FrameType.HEADERS, 4, 0, b"\xff" * 20)


def check_story(story: Story) -> None:
    """Head, messages, at most one end or fault; CLOSED once, last."""
    kinds = [one[0] for one in story if isinstance(one, tuple)]
    assert kinds[-1] == "closed"
    order = ["head", "message", "end", "fault", "closed"]
    ranks = [order.index(kind) for kind in kinds]
    assert ranks == sorted(ranks)
    assert kinds.count("head") <= 1
    assert kinds.count("end") + kinds.count("fault") <= 1
    assert kinds.count("closed") == 1


def survive(teller: Teller, data: bytes, step: int) -> None:
    """Feed it, answer, lose the connection: nothing raises, every stream has one story."""
    ours = teller.connection
    sent = b""
    for start in range(0, len(data), step):
        teller.receive(data[start : start + step])
        sent += ours.take_output()
        teller.listen()
    if ours.closing:
        assert ours.failure or ours.goaway_received
    if ours.failure:
        assert ours.closing
        assert frames(sent)[-1][0] == FrameType.GOAWAY
    before = list(teller.stories)
    ours.close()
    teller.listen()
    assert ours.open_streams == 0
    assert set(before) <= set(teller.stories)
    for story in teller.stories.values():
        check_story(story)


@pytest.mark.parametrize("side", SIDES)
@given(data=st.binary(min_size=1, max_size=300), step=st.integers(1, 300))
def test_garbage_from_the_first_byte_on(side: str, data: bytes, step: int) -> None:
    survive(SIDES[side][0](), data, step)


@pytest.mark.parametrize("side", SIDES)
@given(garbage=st.binary(max_size=300), step=st.integers(1, 300))
def test_garbage_after_a_good_beginning(side: str, garbage: bytes, step: int) -> None:
    preface = PREFACE if side == "server" else b""
    good = preface + frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.SETTINGS, ACK, 0)
    survive(SIDES[side][0](), good + garbage, step)


@pytest.mark.parametrize("side", SIDES)
@given(sent=st.lists(FRAME, max_size=20), step=st.integers(1, 2000))
def test_whole_frames_of_any_kind_in_any_order(side: str, sent: list[bytes], step: int) -> None:
    preface = PREFACE if side == "server" else b""
    good = preface + frame(FrameType.SETTINGS, 0, 0) + frame(FrameType.SETTINGS, ACK, 0)
    survive(SIDES[side][0](), good + b"".join(sent), step)


@pytest.mark.parametrize("side", SIDES)
@given(data=st.data(), step=st.integers(1, 2000))
def test_flipped_bits_in_a_good_conversation(side: str, data: st.DataObject, step: int) -> None:
    begin, good = SIDES[side]
    flips = data.draw(st.sets(st.integers(0, len(good) * 8 - 1), min_size=1, max_size=8))
    bad = bytearray(good)
    for flip in flips:
        bad[flip // 8] ^= 1 << flip % 8
    survive(begin(), bytes(bad), step)


@pytest.mark.parametrize("side", SIDES)
def test_every_single_flipped_bit(side: str) -> None:
    begin, good = SIDES[side]
    for flip in range(len(good) * 8):
        bad = bytearray(good)
        bad[flip // 8] ^= 1 << flip % 8
        survive(begin(), bytes(bad), len(bad))


@pytest.mark.parametrize("side", SIDES)
@given(data=st.data())
def test_a_conversation_cut_off_anywhere_closes_every_stream(
    side: str, data: st.DataObject
) -> None:
    begin, good = SIDES[side]
    cut = data.draw(st.integers(1, len(good)))
    teller = begin()
    survive(teller, good[:cut], cut)
    assert teller.connection.failure is None


@pytest.mark.parametrize("side", SIDES)
@given(good=st.booleans(), garbage=st.binary(max_size=100))
def test_the_last_straw_ends_the_connection_whatever_follows(
    side: str, good: bool, garbage: bytes
) -> None:
    begin, conversation = SIDES[side]
    preface = PREFACE if side == "server" else b""
    start = conversation if good else preface + frame(FrameType.SETTINGS, 0, 0)
    teller = begin()
    teller.receive(start + LAST_STRAW)
    sent = frames(teller.connection.take_output())
    assert sent[-1][0] == FrameType.GOAWAY
    assert teller.connection.closing is True
    assert teller.connection.failure
    failure = teller.connection.failure
    teller.receive(garbage)
    assert teller.connection.take_output() == b""
    assert teller.connection.failure == failure
