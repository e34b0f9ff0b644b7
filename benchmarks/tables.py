"""The results as tables for a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.results import GYRFALCON

if TYPE_CHECKING:
    from benchmarks.results import Results, Verdict
    from benchmarks.targets import Target


WIDTH = 170
"""Columns of the tables where no terminal says how many there are."""


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def number(value: float | None) -> str:
    """Three figures that mean something."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def medians(results: Results) -> Table:
    """Every figure of every peer, and gyrfalcon's ratio to grpc.aio and grpc-go."""
    table = Table(title="Medians")
    table.add_column("")
    table.add_column("unit")
    for peer in results.peers:
        table.add_column(peer.label, justify="right")
    units = [peer for peer in results.peers if peer.name in ("grpc-aio", "grpc-go")]
    for unit in units:
        table.add_column(f"gyrfalcon\n÷ {unit.label}", justify="right", style="bold")
    for figure in results.figures:
        table.add_row(
            figure.title,
            figure.unit,
            *(number(results.median(figure.name, peer.name)) for peer in results.peers),
            *(number(results.ratio(figure.name, GYRFALCON, unit.name)) for unit in units),
        )
    return table


def targets(results: Results) -> Table:
    """Every target, and whether it is met."""
    titles = {figure.name: figure for figure in results.figures}
    labels = {peer.name: peer.label for peer in results.peers} | {
        name: name for name in results.absent
    }
    table = Table(title="Targets")
    table.add_column("")
    table.add_column("target", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("")
    for verdict in results.verdicts():
        figure = titles[verdict.target.figure]
        unit = f"× {labels.get(verdict.target.against, verdict.target.against)}"
        of = verdict.target.of
        table.add_row(
            figure.title if of == GYRFALCON else f"{figure.title}: {labels.get(of, of)}",
            bound(verdict.target, unit if verdict.target.against else figure.unit),
            number(verdict.value),
            word(verdict),
        )
    return table


def bound(target: Target, unit: str) -> str:
    return f"{target.comparison} {number(target.bound)} {unit}"


def word(verdict: Verdict) -> str:
    if verdict.met is None:
        return "[yellow]not measured[/]"
    return "[green]met[/]" if verdict.met else "[red]missed[/]"
