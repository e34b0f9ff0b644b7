"""What a suite of other people's tests found, as one JSON file for each kind of run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "reports"


@dataclass(frozen=True)
class Report:
    """One run of a suite; `build/reports/NAME.json` has these fields."""

    suite: str
    version: str
    role: str
    """Which part of ours was tested: "client" or "server"."""
    face: str
    """ "asyncio" or "blocking"."""
    tls: bool
    passed: int
    failed: int
    skipped: int
    seconds: float
    """That the run took; of several reports of one run, each has the whole."""

    @property
    def ok(self) -> bool:
        """Whether all of it passed, and there was something to pass."""
        return self.passed > 0 and self.failed == self.skipped == 0

    @property
    def name(self) -> str:
        security = "tls" if self.tls else "cleartext"
        return "-".join((self.suite, self.role, self.face, security))

    def write(self) -> Path:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        return path

    def __str__(self) -> str:
        security = "TLS" if self.tls else "cleartext"
        return (
            f"{'passed' if self.ok else 'FAILED':8}{self.suite:20}{self.role:8}{self.face:10}"
            f"{security:11}{self.passed:5} passed {self.failed:3} failed {self.skipped:3} skipped"
            f"  {self.seconds:6.1f} s"
        )


def conclude(reports: list[Report], *, whole: bool) -> int:
    """Print the matrix, and write the reports if they are of `whole` suites; the status to exit
    with."""
    for report in reports:
        if whole:
            report.write()
        print(report)
    return 0 if reports and all(report.ok for report in reports) else 1
