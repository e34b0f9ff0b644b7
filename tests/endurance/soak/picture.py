"""Memory, descriptors, tasks and threads of a soak's processes over time, and its faults; with
dots what was seen at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.endurance.memory import MIB
from tests.endurance.soak.processes import Process

PANELS = {
    "memory": "resident memory, MiB", "in_use": "of malloc in use, MiB", "objects": "objects",
    "descriptors": "descriptors", "tasks": "tasks", "threads": "threads",
}  # fmt: skip
IN_MIB = "memory", "in_use"
AT_REST = "memory", "in_use", "objects"


def draw(
    path: Path, processes: list[Process], faults: list[tuple[float, str]], began: float, title: str
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(
        len(PANELS) + 1, 1, figsize=(14, 20), sharex=True, layout="constrained"
    )
    for panel, (name, label) in zip(axes, PANELS.items(), strict=False):
        for process in processes:
            if process.steady:
                minutes = [(sample["at"] - began) / 60 for sample in process.samples]
                (line,) = panel.plot(
                    minutes, values(process.samples, name), label=process.name, linewidth=1
                )
                # At rest.
                if name in AT_REST:
                    panel.plot(
                        [(weight["at"] - began) / 60 for weight in process.weights],
                        values(process.weights, name), color=line.get_color(), marker=".",
                        linewidth=0.5,
                    )  # fmt: skip
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    kinds = sorted({name for _, name in faults})
    axes[-1].scatter(
        [(when - began) / 60 for when, _ in faults],
        [kinds.index(name) for _, name in faults], marker="|", s=150,
    )  # fmt: skip
    axes[-1].set_yticks(range(len(kinds)), kinds)
    axes[-1].set_xlabel("minutes")
    axes[0].legend(loc="upper left", ncols=3, fontsize=8)
    drawing.suptitle(title)
    drawing.savefig(path, dpi=90)
    pyplot.close(drawing)


def values(samples: list[dict[str, Any]], name: str) -> list[float]:
    found: list[Any] = [sample.get(name, 0) for sample in samples]
    return [value / MIB for value in found] if name in IN_MIB else found
