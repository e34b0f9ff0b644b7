"""What a run has measured, and what follows from it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import h2load, roster
from benchmarks.processes import CAN_PIN
from benchmarks.targets import TARGETS, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measures import Figure, Pace
    from benchmarks.roster import Peer

GYRFALCON = "gyrfalcon"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How gyrfalcon stands to one target."""

    target: Target
    value: float | None
    """the ratio, or the figure itself; None when it was not measured"""

    @property
    def met(self) -> bool | None:
        return None if self.value is None else self.target.met_by(self.value)


@dataclass(slots=True)
class Results:
    """Raw turns by scenario and peer; everything else is computed from them."""

    peers: list[Peer]
    figures: list[Figure]
    pace: Pace
    turns: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """peers that could not take part, and why"""
    failures: dict[str, str] = field(default_factory=dict)
    """``scenario/peer`` to what went wrong"""
    elsewhere: float | None = None
    """share of the machine that other programs used meanwhile"""
    began: datetime.datetime = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    )

    def add(self, scenario: str, peer: str, turn: dict[str, float]) -> None:
        self.turns.setdefault(scenario, {}).setdefault(peer, []).append(turn)

    def median(self, figure: str, peer: str) -> float | None:
        """Over the turns; None where there is none."""
        for by_peer in self.turns.values():
            values = [turn[figure] for turn in by_peer.get(peer, ()) if figure in turn]
            if values:
                return statistics.median(values)
        return None

    def ratio(self, figure: str, peer: str, unit: str) -> float | None:
        """The median of `peer` in medians of the peer `unit`."""
        value, one = self.median(figure, peer), self.median(figure, unit)
        return None if value is None or not one else value / one

    def verdicts(self) -> Iterator[Verdict]:
        """One for each target whose figure was asked for."""
        names = {figure.name for figure in self.figures}
        for target in TARGETS:
            if target.figure not in names:
                continue
            if target.against:
                value = self.ratio(target.figure, target.of, target.against)
            else:
                value = self.median(target.figure, target.of)
            yield Verdict(target, value)

    def as_json(self) -> dict[str, Any]:
        return {
            "began": self.began.isoformat(),
            "machine": machine(),
            "software": software(),
            "versions": {peer.name: roster.versions(peer) for peer in self.peers},
            "absent": self.absent,
            "failures": self.failures,
            "elsewhere": self.elsewhere,
            "pace": {"seconds": self.pace.seconds, "warm_up": self.pace.warm_up},
            "medians": {
                figure.name: {
                    "unit": figure.unit,
                    "better": figure.better,
                    "peers": {
                        peer.name: value
                        for peer in self.peers
                        if (value := self.median(figure.name, peer.name)) is not None
                    },
                }
                for figure in self.figures
            },
            "targets": [
                {
                    "figure": verdict.target.figure,
                    "of": verdict.target.of,
                    "against": verdict.target.against,
                    "comparison": verdict.target.comparison,
                    "bound": verdict.target.bound,
                    "value": verdict.value,
                    "met": verdict.met,
                }
                for verdict in self.verdicts()
            ],
            "turns": self.turns,
        }

    def write_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n")


def machine() -> dict[str, Any]:
    """The processor, its cores, memory and system."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "pinned": CAN_PIN,
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def processor() -> str:
    """Its model, as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except FileNotFoundError:
        pass
    return platform.processor() or platform.machine()


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def software() -> dict[str, str]:
    """What all peers share."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}"
        f" ({platform.python_compiler()})",
        "protobuf": roster.version("protobuf"),
        "h2load": "" if h2load.missing() else h2load.version(),
    }
