"""How much of the machine something else used during a run: the reader's measure of its quiet."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds so far."""

    busy: float
    """of the whole machine"""
    stolen: float
    """that the host gave to others"""
    total: float
    ours: float
    """of this program and of those that it started and that have ended"""


def usage() -> Usage | None:
    """None where the system has no /proc/stat."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except FileNotFoundError:
        return None
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    user, nice, system, idle, waiting, interrupts, soft, stolen = ticks[:8]
    busy = user + nice + system + interrupts + soft
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Usage(
        busy=busy,
        stolen=stolen,
        total=busy + idle + waiting + stolen,
        ours=sum(one.ru_utime + one.ru_stime for one in used),
    )


def share(before: Usage | None, after: Usage | None) -> float | None:
    """The part of the machine's time between the two that went to others, 0 to 1."""
    if before is None or after is None or after.total <= before.total:
        return None
    others = (after.busy - before.busy) - (after.ours - before.ours)
    others += after.stolen - before.stolen
    return max(0.0, others / (after.total - before.total))
