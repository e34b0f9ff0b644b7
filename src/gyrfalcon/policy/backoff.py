"""When to connect again after a connection attempt failed (gRPC `connection-backoff`)."""

from __future__ import annotations

from typing import NamedTuple


class Attempt(NamedTuple):
    """The times that bound one connection attempt, on the clock that `now` was read from."""

    deadline: float
    """When the attempt is given up."""
    retry_at: float
    """When the next one may start if this one has failed by then; else it may start at once."""


class ConnectionBackoff:
    """The schedule of the connection attempts to one address. Times are seconds.

    Attempts are `initial` apart at first, then `multiplier` times longer each time up to `maximum`,
    each but the first changed by at most ±`jitter` of itself, so that many clients of a server that
    went away do not come back in step. `maximum` is applied before the jitter. An attempt gets at
    least `connect_timeout`.

    Raises ValueError for values that make no schedule.
    """

    __slots__ = ("_delay", "connect_timeout", "initial", "jitter", "maximum", "multiplier")

    def __init__(
        self,
        *,
        initial: float = 1.0,
        multiplier: float = 1.6,
        jitter: float = 0.2,
        maximum: float = 120.0,
        connect_timeout: float = 20.0,
    ) -> None:
        _require("initial", initial, "more than 0", initial > 0)
        _require("multiplier", multiplier, "at least 1", multiplier >= 1)
        _require("jitter", jitter, "at least 0 and less than 1", 0 <= jitter < 1)
        _require("maximum", maximum, f"at least initial, {initial}", maximum >= initial)
        _require("connect_timeout", connect_timeout, "more than 0", connect_timeout > 0)
        self.initial = initial
        self.multiplier = multiplier
        self.jitter = jitter
        self.maximum = maximum
        self.connect_timeout = connect_timeout
        self._delay: float | None = None

    def attempt(self, now: float, uniform: float) -> Attempt:
        """The bounds of an attempt that starts at `now`; `uniform` is a random number in [0, 1)."""
        if self._delay is None:
            delay = self._delay = self.initial
        else:
            self._delay = min(self._delay * self.multiplier, self.maximum)
            delay = self._delay * (1 + self.jitter * (2 * uniform - 1))
        return Attempt(now + max(delay, self.connect_timeout), now + delay)

    def reset(self) -> None:
        """Start over: the peer is there. To be called when its SETTINGS arrive."""
        self._delay = None


def _require(name: str, value: float, rule: str, holds: bool) -> None:
    if not holds:
        raise ValueError(f"backoff {name} is {value}: it must be {rule}")
