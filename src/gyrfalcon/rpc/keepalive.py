"""Keepalive: asking the other end of a connection whether it is still there (gRFC A8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from .options import check_seconds

LEAST_CLIENT_INTERVAL: Final = 10.0
"""Seconds (gRFC A8). Many clients that ask more often are a load of their own."""

LEAST_SERVER_INTERVAL: Final = 1.0
"""Seconds."""

MOST_SECONDS: Final = 1e6
"""For an answer: what fits TCP_USER_TIMEOUT."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """When the other end of a connection is asked whether it is still there, with an HTTP/2 PING.

    `interval`: seconds without a byte from it before it is asked, at least 10 on a channel and 1 on
    a server; `timeout`: seconds that its answer may take before the connection is dropped;
    `without_calls`: whether it is asked while there are no calls, too (a server always asks).
    Raises TypeError and ValueError for what are no seconds.
    """

    interval: float
    timeout: float = 20.0
    without_calls: bool = False

    def __post_init__(self) -> None:
        check_seconds("interval", self.interval, zero=False)
        check_seconds("timeout", self.timeout, zero=False)
        if self.timeout > MOST_SECONDS:
            raise ValueError(f"timeout={self.timeout!r} is out of range: at most {MOST_SECONDS:g}")


def check_keepalive(value: Keepalive | float | None, least: float) -> Keepalive | None:
    """The option `keepalive`, or TypeError and ValueError that name it."""
    if value is None:
        return None
    chosen = value
    if not isinstance(chosen, Keepalive):
        chosen = Keepalive(check_seconds("keepalive", chosen, zero=False))
    if math.isinf(chosen.interval):
        return None
    if chosen.interval < least:
        raise ValueError(
            f"keepalive={value!r} is out of range: the interval must be at least {least:g} seconds"
        )
    return chosen
