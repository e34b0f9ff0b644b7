"""The notes that RouteChat's callers share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from examples.route_guide.notes import NoteBoard
from examples.route_guide.proto.route_guide_pb2 import Point, RouteNote


def note(message: str, latitude: int = 1) -> RouteNote:
    return RouteNote(location=Point(latitude=latitude, longitude=2), message=message)


def test_a_note_is_answered_with_the_earlier_ones_at_its_point() -> None:
    board = NoteBoard()
    assert board.pin(note("a")) == ()
    assert board.pin(note("b")) == (note("a"),)
    assert board.pin(note("elsewhere", latitude=5)) == ()
    assert board.pin(note("c")) == (note("a"), note("b"))


def test_equal_notes_are_different_notes() -> None:
    board = NoteBoard()
    board.pin(note("a"))
    board.pin(note("a"))
    assert board.pin(note("a")) == (note("a"), note("a"))


def test_latitude_and_longitude_are_not_mixed_up() -> None:
    board = NoteBoard()
    board.pin(RouteNote(location=Point(latitude=1, longitude=2)))
    assert board.pin(RouteNote(location=Point(latitude=2, longitude=1))) == ()


def test_the_oldest_notes_are_forgotten_beyond_the_limit() -> None:
    board = NoteBoard(max_notes=3)
    for message in "abc":
        board.pin(note(message))
    assert board.pin(note("elsewhere", latitude=5)) == ()
    assert board.pin(note("d")) == (note("b"), note("c"))
    assert board.pin(note("e")) == (note("c"), note("d"))
    assert board.pin(note("f")) == (note("d"), note("e"))
    assert board.pin(note("again", latitude=5)) == ()


def test_large_notes_are_forgotten_by_their_bytes() -> None:
    large = note("x" * 1000)
    board = NoteBoard(max_bytes=2 * large.ByteSize())
    assert [len(board.pin(large)) for _ in range(5)] == [0, 1, 2, 2, 2]


def test_callers_in_many_threads_hear_every_earlier_note_once() -> None:
    board = NoteBoard()
    messages = [str(number) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        heard = list(threads.map(lambda message: board.pin(note(message)), messages))
    assert sorted(len(earlier) for earlier in heard) == list(range(200))
    last = max(heard, key=len)
    assert all(earlier == last[: len(earlier)] for earlier in heard)
