"""Every limit that can be met by what a peer or a program does: its name, unit and default.

The one list of them. What a limit has as an option of a server or a channel stands with their other
options; how often it was met is counted under its name, natively where that is on a connection
(`_core/limits.pxd`), and shown by `stats()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit."""

    name: str
    """The name of the option, and of its counter."""
    unit: str
    default: float | None
    """In that unit; None: no limit, or one that depends on the machine."""
    sides: str
    """Who has it as an option: "server", "channel", "both"; "" for one that cannot be set."""


@dataclass(frozen=True, slots=True)
class FrameRate:
    """What a peer may do only so often on one connection."""

    name: str
    burst: int
    """How often at once."""
    rate: int
    """How often a second. Work that gets done allows more (docs/reference/limits.md)."""


FRAME_RATES: Final = (
    FrameRate("reset_rate", 20_000, 4_000),
    FrameRate("provoked_reset_rate", 1_000, 100),
    FrameRate("refused_stream_rate", 20_000, 10_000),
    FrameRate("ping_rate", 500, 100),
    FrameRate("settings_rate", 100, 10),
    FrameRate("priority_rate", 2_000, 200),
    FrameRate("window_update_rate", 10_000, 1_000),
    FrameRate("empty_frame_rate", 1_000, 100),
    FrameRate("small_frame_rate", 20_000, 2_000),
)
"""In the order of the kinds in `_core/gate.pxd`."""

LIMITS: Final = (
    # Messages, metadata, streams, calls
    Limit("max_receive_bytes", "bytes", 4 * 2**20, "both"),
    Limit("max_send_bytes", "bytes", None, "both"),
    Limit("max_metadata_bytes", "bytes", 16 * 2**10, "both"),
    Limit("max_concurrent_streams", "calls", 1000, "server"),
    Limit("max_concurrent_calls", "calls", None, "server"),
    Limit("max_waiting_calls", "calls", 10_000, "server"),
    Limit("max_unread_bytes", "bytes", 64 * 2**20, "both"),
    Limit("timeout", "seconds", None, ""),
    # Connections
    Limit("max_connections", "connections", None, "server"),
    Limit("connect_timeout", "seconds", 20.0, "channel"),
    Limit("handshake_timeout", "seconds", 20.0, "server"),
    Limit("header_timeout", "seconds", 10.0, "both"),
    Limit("stall_timeout", "seconds", 60.0, "both"),
    Limit("close_timeout", "seconds", 10.0, ""),
    Limit("keepalive", "seconds", None, "both"),
    Limit("min_ping_interval", "seconds", 300.0, "server"),
    Limit("max_connection_age", "seconds", None, "server"),
    Limit("max_connection_age_grace", "seconds", None, "server"),
    Limit("max_connection_idle", "seconds", None, "server"),
    Limit("idle_timeout", "seconds", 1800.0, "channel"),
    # Frames
    *(Limit(limit.name, "a second", limit.rate, "") for limit in FRAME_RATES),
    Limit("header_block", "bytes", 2**20, ""),
    Limit("unsent_frames", "frames", 4096, ""),
)
"""In the order of their numbers. A new one goes to the end of its group; numbers are not kept."""

_NUMBERS: Final[Mapping[str, int]] = {limit.name: index for index, limit in enumerate(LIMITS)}


def number_of(name: str) -> int:
    """The number under which native code counts a limit. KeyError for one that is not listed."""
    return _NUMBERS[name]


def named(counts: Iterable[int]) -> dict[str, int]:
    """What was counted under each number, by name; without those that were never met."""
    return {limit.name: count for limit, count in zip(LIMITS, counts, strict=True) if count}


def add_counts(total: dict[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Add to `total`, which is returned."""
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
    return total
