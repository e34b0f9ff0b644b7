"""The results as one picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.results import GYRFALCON, machine, software
from benchmarks.roster import versions
from benchmarks.tables import number

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.measures import Figure
    from benchmarks.results import Results

COLUMNS = 4
TITLE = "Gyrfalcon beside other gRPC implementations: one core serves, one core calls"
OURS, THEIRS, TEXT = "#c2410c", "#94a3b8", "#1e293b"


def draw(results: Results, path: Path) -> None:
    """Write a panel of bars for every figure to `path` (SVG or PNG by its ending)."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update(
        {"svg.hashsalt": "gyrfalcon", "font.size": 9, "text.color": TEXT, "svg.fonttype": "none"}
    )
    from matplotlib import pyplot

    figures = [figure for figure in results.figures if measured(results, figure)]
    rows = math.ceil(len(figures) / COLUMNS)
    height = 0.24 * len(results.peers) + 0.55
    drawing, axes = pyplot.subplots(
        rows, COLUMNS, figsize=(18, rows * height + 1.2), layout="constrained", squeeze=False
    )
    for place, figure in zip(axes.flat, figures, strict=False):
        panel(place, results, figure)
    for place in axes.flat[len(figures) :]:
        place.axis("off")
    drawing.suptitle(TITLE, fontsize=14, fontweight="bold", x=0.01, ha="left")
    drawing.supxlabel(caption(results), fontsize=9, x=0.01, ha="left")
    drawing.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {}, dpi=110)
    pyplot.close(drawing)


def measured(results: Results, figure: Figure) -> bool:
    return figure.drawn and any(
        results.median(figure.name, peer.name) is not None for peer in results.peers
    )


def panel(axes: Axes, results: Results, figure: Figure) -> None:
    """One figure: a bar a peer, on a linear scale from zero, each with its number."""
    rows = [
        (peer, value)
        for peer in results.peers
        if (value := results.median(figure.name, peer.name)) is not None
    ]
    labels = [peer.label for peer, _ in rows]
    values = [value for _, value in rows]
    colors = [OURS if peer.name.startswith(GYRFALCON) else THEIRS for peer, _ in rows]
    bars = axes.barh(labels, values, color=colors, height=0.72)
    axes.bar_label(bars, [number(value) for value in values], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_title(
        f"{figure.title}\n{figure.unit}, {figure.better} is better", fontsize=9, loc="left"
    )
    axes.set_xlim(0, 1.3 * max(values))
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def caption(results: Results) -> str:
    """Machine, date and versions."""
    where, what = machine(), software()
    used: dict[str, str] = {}
    for peer in results.peers:
        used |= versions(peer)
    return (
        f"{results.began:%d %B %Y} · {where['processor']}, {where['cores']} cores"
        f" · {where['system']} · {what['python']} · medians of {most_turns(results)} turns\n"
        + " · ".join(f"{name} {version}" for name, version in used.items())
        + f" · protobuf {what['protobuf']} · h2load {what['h2load']}"
    )


def most_turns(results: Results) -> int:
    return max(
        (len(turns) for peers in results.turns.values() for turns in peers.values()), default=0
    )
