"""The targets can fail: each says so when what it watches is broken."""

from __future__ import annotations

import pytest

from fuzz.choices import Choices
from fuzz.frames import END_STREAM, HEADERS, PING, RST_STREAM, Frame, SentFrames, message
from fuzz.mutators import FrameMutator
from fuzz.targets import DICTIONARIES, framing, grammar, headers, load, timeouts


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(KeyError, match="there is no target 'servers'"):
        load("servers")


def test_frames_after_the_end_of_a_stream_are_found() -> None:
    sent = SentFrames(client=False)
    sent.take(bytes(Frame(HEADERS, END_STREAM, 1)) + bytes(Frame(RST_STREAM, 0, 1, bytes(4))))
    with pytest.raises(AssertionError, match="after END_STREAM"):
        sent.take(bytes(Frame(HEADERS, 4, 1)))


def test_a_frame_that_is_cut_is_found() -> None:
    sent = SentFrames(client=False)
    sent.take(bytes(Frame(PING, 0, 0, bytes(8)))[:-1])
    with pytest.raises(AssertionError, match="16 bytes"):
        sent.end()


def test_a_wrong_text_of_a_status_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "encode_text", lambda text, limit=0: text.encode())
    with pytest.raises(AssertionError):
        headers.check(b"\x00100 % \n")


def test_a_wrong_timeout_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "format_timeout", lambda seconds: b"1m")
    with pytest.raises(AssertionError):
        timeouts.check(b"\x005S")


def test_a_lost_message_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "expected", lambda body, limit: ["end"])
    with pytest.raises(AssertionError, match="is not"):
        framing.check(b"\0\0" + message(b"here"))


def test_an_event_after_the_last_is_found() -> None:
    play = grammar.Play()
    play.open(play.client, Choices(b""))
    (stream,) = play.client.known
    with pytest.raises(AssertionError, match="after CLOSED"):
        play.client.check_events(stream, grammar.CLOSED, grammar.MESSAGE)


@pytest.mark.parametrize("name", ["server", "client"])
def test_mutants_keep_their_size_and_differ(name: str) -> None:
    mutate = FrameMutator(lambda data, size: (data + b"!")[:size])
    one = next(iter(load(name).seeds()))
    mutants = {mutate(one, 400, seed) for seed in range(200)}
    assert max(map(len, mutants)) <= 400
    assert len(mutants) > 50


def test_every_target_has_seeds() -> None:
    assert [name for name in DICTIONARIES if not list(load(name).seeds())] == []
