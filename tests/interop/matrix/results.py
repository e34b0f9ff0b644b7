"""What a run of the matrix found, and how it is kept."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


class Verdict(enum.Enum):
    """How a case ended between two programs."""

    OK = "ok"
    FAILED = "failed"
    ABSENT = "absent"
    """One of the two does not have what the case is about."""


@dataclass(frozen=True)
class Result:
    """One case between a client and a server. `transport`: "plaintext" or "TLS"."""

    client: str
    server: str
    transport: str
    group: str
    case: str
    verdict: Verdict
    seconds: float = 0.0
    note: str = ""
    """Why it failed or is absent, or what was run in its place."""


@dataclass
class Results:
    """A whole run."""

    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that could not be run, and why."""
    seconds: float = 0.0
    results: list[Result] = field(default_factory=list)

    def count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.results)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = asdict(self)
        for result in data["results"]:
            result["verdict"] = result["verdict"].value
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = [
            Result(**{**result, "verdict": Verdict(result["verdict"])})
            for result in data.pop("results")
        ]
        return cls(**data, results=found)
