"""The tour itself: that it is right when all is right, and says so when something is not."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo import __main__ as demo
from examples.demo.servers import ROOT, ServerError, running
from examples.demo.transcript import Transcript


def plain() -> Console:
    return Console(file=io.StringIO(), highlight=False, width=100)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_tour_succeeds_and_tells_what_it_saw() -> None:
    tour = subprocess.run(
        [sys.executable, "-m", "examples.demo"], cwd=ROOT, capture_output=True, text=True
    )
    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert "\x1b" not in tour.stdout
    assert "Orders processed Updated Order IDs : 102, 103, 104, " in tour.stdout
    assert tour.stdout.count("(during the pause)") == 2 * 2
    assert tour.stdout.count("(at the end)") == 2 * 1
    assert "← Hello world" in tour.stdout
    assert "← 100 greetings, each with its tag" in tour.stdout
    assert "26 of 26 answers right" in tour.stdout


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    console = plain()
    with Transcript(console).call("say", "unary", ["hello"]) as answer:
        answer.arrived()
    assert ("\x1b[35m" in printed(console)) is coloured


def test_every_answer_is_counted_and_wrong_ones_are_shown() -> None:
    console = plain()
    transcript = Transcript(console)
    with transcript.call("right", "unary", ["a"]) as answer:
        answer.got(["b"])
        answer.expect("it", "b", "b")
    with transcript.call("wrong", "unary", ["a"]) as answer:
        answer.expect("it", "b", "c")
        answer.expect("that", "d", "d")
    with transcript.call("failing", "unary", ["[bold]a"]):
        raise LookupError("nothing there")
    transcript.summary(0.25)
    assert (transcript.calls, transcript.wrong) == (3, 2)
    text = printed(console)
    assert "→ [bold]a" in text
    assert "✗ it is 'b', expected 'c'" in text
    assert "that is" not in text
    assert "✗ LookupError: nothing there" in text
    assert "1 of 3 answers right, in 250.0 ms" in text


@pytest.mark.anyio
@pytest.mark.parametrize(("expected", "status"), [("b", 0), ("c", 1)])
async def test_the_status_tells_whether_every_answer_was_right(
    monkeypatch: pytest.MonkeyPatch, expected: str, status: int
) -> None:
    async def tour(transcript: Transcript) -> None:
        with transcript.call("method", "unary", []) as answer:
            answer.expect("it", "b", expected)

    monkeypatch.setattr(demo, "tour", tour)
    assert await demo.run(plain()) == status


@pytest.mark.anyio
async def test_a_server_that_does_not_start_fails_the_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tour(transcript: Transcript) -> None:
        async with running("platform"):
            raise AssertionError("a module that is no server was taken for one")

    monkeypatch.setattr(demo, "tour", tour)
    console = plain()
    assert await demo.run(console) == 1
    assert "platform said" in printed(console)


@pytest.mark.anyio
async def test_the_server_is_ended_when_the_visit_fails() -> None:
    addresses: list[str] = []

    async def visit() -> None:
        async with running("examples.greeter.server") as address:
            addresses.append(address)
            raise LookupError("visit")

    with pytest.raises(LookupError, match="visit"):
        await visit()
    host, port = addresses[0].split(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


@pytest.mark.anyio
async def test_a_server_that_ends_badly_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(
        "import signal\nprint('listening on 127.0.0.1:1', flush=True)\nsignal.pause()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ServerError, match=r"dying ended with status -15"):
        async with running("dying"):
            pass
