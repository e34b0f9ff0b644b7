"""What the tour prints: each call with what was sent, what came back, and whether it was right."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


class Answer:
    """What came back from one call, to be shown and checked."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.perf_counter()
        self.seconds = 0.0
        self.faults: list[str] = []

    def arrived(self) -> None:
        """The call is over: everything that follows is not its time."""
        self.seconds = time.perf_counter() - self._began

    def got(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(f"  ← {line}", style="cyan"), soft_wrap=True)

    def expect(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            self.faults.append(f"{what} is {actual!r}, expected {expected!r}")


class Transcript:
    """Prints the calls as they are made and keeps count of the right answers."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.calls = 0
        self.wrong = 0

    def section(self, title: str, where: str) -> None:
        self._console.print()
        self._console.print(Text.assemble((title, "bold"), (f"  {where}", "dim")), soft_wrap=True)

    @contextmanager
    def call(self, method: str, pattern: str, sent: Iterable[str]) -> Iterator[Answer]:
        """One call: shown when it is made, judged at the end of the block.

        An exception in the block is a wrong answer; the tour goes on.
        """
        self._console.print()
        self._console.print(Text.assemble((method, "bold blue"), (f"  {pattern}", "dim")))
        for line in sent:
            self._console.print(Text(f"  → {line}", style="magenta"), soft_wrap=True)
        answer = Answer(self._console)
        try:
            yield answer
        except Exception as error:
            answer.arrived()
            answer.faults.append(f"{type(error).__name__}: {error}")
        self.calls += 1
        self.wrong += bool(answer.faults)
        self._judge(answer)

    def _judge(self, answer: Answer) -> None:
        for fault in answer.faults:
            self._console.print(Text(f"  ✗ {fault}", style="bold red"), soft_wrap=True)
        verdict = ("  ✗ wrong", "bold red") if answer.faults else ("  ✓ right", "green")
        time_taken = (f" in {_duration(answer.seconds)}", "dim")
        self._console.print(Text.assemble(verdict, time_taken))

    def summary(self, seconds: float) -> None:
        right = self.calls - self.wrong
        style = "bold red" if self.wrong else "bold green"
        text = f"{right} of {self.calls} answers right, in {_duration(seconds)}"
        self._console.print()
        self._console.print(Text(text, style=style))


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
