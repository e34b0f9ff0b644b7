"""What `gyr bench` found: as a table and a histogram for people, as JSON for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

import gyrfalcon as gyr

from .failures import printable
from .load import Tally

_PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)
_ROWS = 12
_BAR = 40


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    target: str
    method: str
    concurrency: int
    """Calls in flight; at most so many with a rate."""
    rate: float | None
    """Calls a second, or None."""
    connections: int
    warmup: float
    """Seconds."""


@dataclass(frozen=True)
class Result:
    """A bench run, perhaps not to its end."""

    settings: Settings
    tally: Tally
    interrupted: bool = False

    @property
    def calls_per_second(self) -> float:
        """Calls that ended, OK or not, for each second."""
        return self.tally.calls / self.tally.seconds if self.tally.seconds else 0.0

    @property
    def failed(self) -> int:
        """Calls that ended with another code than OK."""
        return self.tally.calls - self.tally.ok


def as_json(result: Result) -> dict[str, Any]:
    """The result for programs: times in the units that the keys name."""
    settings, tally = result.settings, result.tally
    latencies = tally.latencies
    return {
        "target": settings.target,
        "method": settings.method,
        "rate": settings.rate,
        "concurrency": settings.concurrency,
        "connections": settings.connections,
        "warmup_s": settings.warmup,
        "interrupted": result.interrupted,
        "duration_s": round(tally.seconds, 6),
        "calls": tally.calls,
        "calls_per_s": round(result.calls_per_second, 3),
        "statuses": {code.name: count for code, count in sorted(tally.statuses.items())},
        "errors": {code.name: text for code, text in sorted(tally.messages.items())},
        "requests": tally.sent,
        "replies": tally.received,
        "latency_ms": {
            "min": _ms(latencies.min),
            "mean": _ms(latencies.mean),
            **{f"p{percent:g}": _ms(latencies.percentile(percent)) for percent in _PERCENTS},
            "max": _ms(latencies.max),
        },
        "histogram": [
            {"from_ms": _ms(start), "to_ms": _ms(end), "calls": count}
            for start, end, count in latencies.histogram(_ROWS)
        ],
    }


def show(result: Result, console: Console) -> None:
    """Print the result for people."""
    parts: list[Text | Table] = [Text(_headline(result)), Text(), _counts(result), Text()]
    if result.tally.latencies.count:
        parts += [_percentiles(result), Text(), _histogram(result)]
    else:
        parts = parts[:-1]
    for warning in _warnings(result):
        parts += [Text(), Text(warning, style="yellow")]
    console.print(Group(*parts))


def _headline(result: Result) -> str:
    settings = result.settings
    how = (
        f"{settings.concurrency:,} calls at once"
        if settings.rate is None
        else f"{settings.rate:,.10g} calls/s, latency from the intended start"
    )
    plural = "" if settings.connections == 1 else "s"
    return (
        f"{settings.method} on {settings.target}\n"
        f"{how}, {settings.connections} connection{plural}, {result.tally.seconds:.3g} s"
    )


def _counts(result: Result) -> Table:
    tally = result.tally
    table = _grid("left", "right", "right", "left")
    table.add_row("calls", f"{tally.calls:,}", f"{result.calls_per_second:,.1f}/s")
    for code, count in sorted(tally.statuses.items()):
        style = "" if code is gyr.StatusCode.OK else "red"
        share = f"{100 * count / tally.calls:.4g} %"
        text = printable(tally.messages.get(code, ""))
        table.add_row(f"  {code.name}", f"{count:,}", share, text, style=style)
    if max(tally.sent, tally.received) > tally.calls:
        for name, count in (("requests", tally.sent), ("replies", tally.received)):
            rate = count / tally.seconds if tally.seconds else 0.0
            table.add_row(name, f"{count:,}", f"{rate:,.1f}/s")
    return table


def _percentiles(result: Result) -> Table:
    latencies = result.tally.latencies
    columns = {
        "min": latencies.min,
        "mean": latencies.mean,
        **{f"p{percent:g}": latencies.percentile(percent) for percent in _PERCENTS},
        "max": latencies.max,
    }
    table = _grid("left", *["right"] * len(columns))
    table.add_row("latency", *columns, style="bold")
    table.add_row("", *(_duration(value) for value in columns.values()))
    return table


def _histogram(result: Result) -> Table:
    spans = result.tally.latencies.histogram(_ROWS)
    most = max(count for _, _, count in spans)
    table = _grid("right", "left", "right", "left", "right")
    for start, end, count in spans:
        bar = "█" * round(_BAR * count / most) or ("▏" if count else "")
        table.add_row(_duration(start), "–", _duration(end), Text(bar, "cyan"), f"{count:,}")
    return table


def _warnings(result: Result) -> list[str]:
    settings, tally = result.settings, result.tally
    found = []
    if result.interrupted:
        found.append("interrupted: this is what was done until then")
    if settings.rate is not None and not result.interrupted:
        share = result.calls_per_second / settings.rate
        if tally.seconds >= 1.0 and share < 0.95:
            found.append(
                f"{result.calls_per_second:,.1f} calls/s came out of {settings.rate:,.10g}: the "
                "server, or this generator, cannot keep up"
            )
    return found


def _grid(*justify: Any) -> Table:
    table = Table.grid(padding=(0, 2))
    for side in justify:
        table.add_column(justify=side, no_wrap=True)
    return table


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds / 1e6, 4)


def _duration(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:#.3g}".rstrip(".") + f" {unit}"
    return f"{nanoseconds / 1e3:.0f} µs"
