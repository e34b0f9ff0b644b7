"""What a process holds, as Linux and CPython count it."""

from __future__ import annotations

import gc
from pathlib import Path

KIB = 2**10
MIB = 2**20


def read_status(field: str) -> int:
    """A size of this process from /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * KIB
    raise LookupError(f"/proc/self/status has no {field}")


def resident_bytes() -> int:
    return read_status("VmRSS")


class Peak:
    """How far resident memory rises above what it is now, wherever it is at the end."""

    def __init__(self) -> None:
        gc.collect()
        # proc(5): 5 sets the peak, VmHWM, back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
        self.before = resident_bytes()

    def growth(self) -> int:
        """Bytes."""
        return read_status("VmHWM") - self.before
