"""``python -m benchmarks``: every scenario with every peer, side by side in one run."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import elsewhere, tables
from benchmarks.measures import Pace
from benchmarks.processes import CAN_PIN, ProgramFailed, allow_many_files, end_on_signals
from benchmarks.results import Results
from benchmarks.roster import PEERS, Peer, missing
from benchmarks.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from benchmarks.measures import Scenario, Turn

RESULTS = Path(__file__).resolve().parent / "results"
NOISY = 0.05
"""Share of the machine used by others from which a run is called noisy."""
QUICK = Pace(seconds=0.4, warm_up=0.2)


@click.command(help=__doc__)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    type=click.Choice([scenario.name for scenario in SCENARIOS]),
    help="Only this one (repeatable).",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([peer.name for peer in PEERS]),
    help="Only this one (repeatable).",
)
@click.option("--turns", default=5, show_default=True, help="Turns of each peer; medians of these.")
@click.option("--seconds", default=1.0, show_default=True, help="Measured time of one turn.")
@click.option("--warm-up", default=0.5, show_default=True, help="Seconds before that.")
@click.option("--quick", is_flag=True, help="One short turn each: does everything run?")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of results.json and results.svg. A complete run writes to benchmarks/results,"
    " any other writes nothing unless told where.",
)
@click.option("--check", is_flag=True, help="Exit with status 1 when a target is missed.")
def main(
    scenarios: tuple[str, ...],
    peers: tuple[str, ...],
    turns: int,
    seconds: float,
    warm_up: float,
    quick: bool,
    out: Path | None,
    check: bool,
) -> None:
    console = tables.console()
    end_on_signals()
    allow_many_files()
    pace = QUICK if quick else Pace(seconds, warm_up)
    chosen = [scenario for scenario in SCENARIOS if not scenarios or scenario.name in scenarios]
    results = Results(
        peers=[],
        figures=[figure for scenario in chosen for figure in scenario.figures],
        pace=pace,
    )
    for peer in PEERS:
        if peers and peer.name not in peers:
            continue
        if reason := missing(peer):
            results.absent[peer.name] = reason
            console.print(f"[yellow]{peer.label} does not take part: {reason}[/]")
        else:
            results.peers.append(peer)
    if not CAN_PIN:
        console.print("[yellow]Nothing is pinned: the system cannot, or there is one core.[/]")
    before = elsewhere.usage()
    measure(console, chosen, results, 1 if quick else turns)
    results.elsewhere = elsewhere.share(before, elsewhere.usage())

    console.print(tables.medians(results), tables.targets(results))
    if results.elsewhere is not None and results.elsewhere > NOISY:
        console.print(
            f"[yellow]Other programs used {results.elsewhere:.0%} of the machine meanwhile.[/]"
        )
    for place, reason in results.failures.items():
        console.print(f"[red]{place} failed:[/] {escape(reason)}", highlight=False)
    complete = not (quick or scenarios or peers)
    write(console, results, out or (RESULTS if complete else None))
    if results.failures or (check and any(verdict.met is False for verdict in results.verdicts())):
        raise SystemExit(1)


def measure(console: Console, scenarios: list[Scenario], results: Results, turns: int) -> None:
    """All turns of all scenarios; the peers of a scenario take turns."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        # Drawn between the turns only: the bar must not compete with what is measured.
        auto_refresh=False,
    )
    steps = [
        (
            scenario,
            [peer for peer in results.peers if scenario.name not in peer.sits_out],
            min(turns, scenario.most_turns),
        )
        for scenario in scenarios
    ]
    task = progress.add_task("", total=sum(len(peers) * times for _, peers, times in steps))
    with progress:
        for scenario, peers, times in steps:
            for done in take_turns(scenario, peers, results, times):
                progress.update(task, description=f"{scenario.name}: {done.label}", advance=1)
                progress.refresh()
            if not console.is_terminal:
                console.print(f"{scenario.name}: measured")


def take_turns(
    scenario: Scenario, peers: list[Peer], results: Results, turns: int
) -> Iterator[Peer]:
    """Yields the peer after each of its turns. A peer that fails is out of this scenario."""
    with contextlib.ExitStack() as stack:
        ready: dict[str, Turn] = {}
        for turn in range(turns):
            for peer in peers:
                place = f"{scenario.name}/{peer.name}"
                if place not in results.failures:
                    try:
                        if turn == 0:
                            ready[peer.name] = stack.enter_context(scenario.ready(peer))
                        measured = ready[peer.name](results.pace)
                    except ProgramFailed as failure:
                        results.failures[place] = str(failure)
                    else:
                        results.add(scenario.name, peer.name, measured)
                yield peer


def write(console: Console, results: Results, folder: Path | None) -> None:
    """The JSON and the picture."""
    if folder is None:
        console.print("Not written: the run was not complete and --out was not given.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    results.write_json(folder / "results.json")
    from benchmarks.picture import draw

    draw(results, folder / "results.svg")
    console.print(f"Written: {folder}/results.json and results.svg")


if __name__ == "__main__":
    main()
