"""Writes docs/reference/endurance.md from the reports of `make fuzz`, `make soak` and `make abuse`.

    python scripts/endurance_page.py

Leaves it as it is unless each of them was run as long as the page says: build/reports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fuzz.targets import DICTIONARIES  # noqa: E402

REPORTS = ROOT / "build" / "reports"
PAGE = ROOT / "docs" / "reference" / "endurance.md"
FUZZ_SECONDS = 1800
SOAK_MINUTES = 60

HEAD = """\
# Endurance

What long runs found: [fuzzing and soaking](../how-to/fuzz-and-soak.md) and
[attacks](../explanation/attacks.md). This page was written by the runs: `make fuzz SECONDS=1800`,
`make soak MINUTES=60` and `make abuse`.
"""


def row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def fuzzed(reports: list[dict[str, Any]]) -> Iterator[str]:
    versions = reports[0]["versions"]
    yield "## Fuzzing\n"
    yield (
        "Each target for half an hour or longer:"
        f" {versions['engine']}, {versions['compiler']}, sanitizers {versions['sanitizers']},"
        f" CPython {versions['python']}.\n"
    )
    yield row("target", "began", "seconds", "inputs run", "edges covered", "corpus", "findings")
    yield "|---|---|---:|---:|---:|---:|---|"
    for one in reports:
        yield row(
            one["target"],
            one["began"][:10],
            f"{one['seconds']:.0f}",
            f"{one['executions']:,}",
            f"{one['edges_covered']:,}",
            f"{one['corpus_inputs']:,}",
            ", ".join(one["findings"]) or "none",
        )


def soaked(report: dict[str, Any]) -> Iterator[str]:
    faults = ", ".join(f"{name} {count}" for name, count in sorted(report["faults"].items()))
    packets = ", ".join(f"{count:,} {what}" for what, count in report["packets"].items())
    versions = report["versions"]
    yield "\n## Soaking\n"
    yield (
        f"{report['began'][:10]}, {report['minutes']:.0f} minutes, CPython {versions['python']},"
        f" grpcio {versions['grpcio']}: {report['calls']:,} calls, {report['answered']:,} of them"
        f" answered, among {sum(report['faults'].values())} faults ({faults})."
        f" Packets: {packets or 'no namespace'}. {report['criterion'].capitalize()}."
        f" **{report['verdict'].capitalize()}.**\n"
    )
    for note in report["not_in_this_run"]:
        yield f"Not in this run: {note}.\n"
    yield row("process", "calls", "wrong replies", "killed", "memory at rest")
    yield "|---|---:|---:|---:|---:|"
    for name, one in report["processes"].items():
        grown = f"{one['growth']:+.2%}" if "growth" in one else "not weighed"
        yield row(name, f"{one['calls']:,}", one["wrong"], one["killed"], grown)


def attacked(report: dict[str, Any]) -> Iterator[str]:
    idle, in_client = report["baselines"]["0.0"], report["client_baselines"]["0.0"]
    yield "\n## Attacks\n"
    yield (
        f"Each for {report['seconds']:g} seconds, over and over, CPython {report['python']}. A"
        " neighbour on another connection makes 20 calls a second; its p99 without an attack is"
        f" {idle * 1e3:.1f} ms at the server and {in_client * 1e3:.1f} ms in the client. The ratio"
        " is to what it is beside a process that is as busy as the attacker and attacks nobody,"
        " at least 1 ms.\n"
    )
    yield row("attack", "times", "what it gets", "MiB held", "handlers", "p99, ms", "ratio", "")
    yield "|---|---:|---|---:|---:|---:|---:|---|"
    for one in report["attacks"]:
        yield row(
            one["name"],
            one["times"],
            one["end"],
            f"{one['growth'] / 2**20:.1f}",
            one["handlers"],
            f"{one['p99'] * 1e3:.1f}",
            f"{one['p99_ratio']:.1f}",
            "; ".join(one["faults"]) or "survived",
        )
    yield "\nAnd honest extremes, which are served to their end:\n"
    yield row("count", "what", "")
    yield "|---:|---|---|"
    for one in report["honest"]:
        yield row(f"{one['count']:,}", one["name"], one["faults"] or "served")


def read(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((REPORTS / name).read_text(encoding="utf-8"))
    return report


def found() -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]] | None:
    """The reports, if they are whole."""
    try:
        fuzz = [
            json.loads((REPORTS / "fuzz" / f"{name}.json").read_text()) for name in DICTIONARIES
        ]
        soak = json.loads((REPORTS / "soak.json").read_text())
        abuse = json.loads((REPORTS / "abuse.json").read_text())
    except FileNotFoundError:
        return None
    whole = (
        all(one["seconds"] >= FUZZ_SECONDS for one in fuzz)
        and soak["minutes"] >= SOAK_MINUTES - 1
        and not abuse["only"]
    )
    return (fuzz, soak, abuse) if whole else None


def main() -> None:
    reports = found()
    if reports is None:
        print(f"{PAGE.relative_to(ROOT)} is left as it is: not everything was run as long")
        return
    fuzz, soak, abuse = reports
    lines = [HEAD, *fuzzed(fuzz), *soaked(soak), *attacked(abuse)]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
