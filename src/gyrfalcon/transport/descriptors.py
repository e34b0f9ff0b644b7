"""The limit on open files, which connections are too."""

from __future__ import annotations

import os
import resource
from typing import Final

# What is left to everything else: files, other connections, what was accepted and is closed again.
_LEAST_RESERVE: Final = 64
_MOST_RESERVE: Final = 1024
_PART: Final = 8


def spare_descriptors() -> int | None:
    """How many connections may still be opened so that accepting one never fails for want of a
    descriptor: an eighth of RLIMIT_NOFILE, at least 64 and at most 1,024, is left for other things.
    At least 1; None: there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    reserve = min(max(soft // _PART, _LEAST_RESERVE), _MOST_RESERVE)
    return max(soft - reserve - len(os.listdir("/dev/fd")), 1)
