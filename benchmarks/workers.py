"""``python -m benchmarks.workers``: what a second worker is worth.

One worker and several serve the same unary load of h2load in turn. With a processor for each worker
and one more for h2load the rates are compared. Where there are not so many, the processor time that
the workers use for a call is, kernel included: what several use together for a call is more than
what one uses by just so much as they get in each other's way, and n workers on processors of their
own serve n times the rate of one, divided by that.
"""

from __future__ import annotations

import os
import statistics
import sys

import click

from benchmarks import h2load
from benchmarks.processes import end_on_signals, run
from benchmarks.serving import Serving, serving

PATIENCE = 300.0


def turn(server: Serving, calls: int, cores: set[int]) -> tuple[float, float, list[float]]:
    """Calls a second, seconds of processor a call, and each worker's share of them."""
    load = server.load()
    requests = load.requests(calls)
    before = server.processor_seconds()
    with load.command(f"--requests={requests}") as command:
        output = run(command, cores, PATIENCE)
    h2load.check(output, requests, load.reply_bytes)
    used = [
        after - earlier for after, earlier in zip(server.processor_seconds(), before, strict=True)
    ]
    return h2load.rate_in(output), sum(used) / requests, [one / sum(used) for one in used]


@click.command(help=__doc__)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(min=2))
@click.option("--calls", default=100_000, show_default=True, help="In one turn.")
@click.option("--turns", default=7, show_default=True)
@click.option("--target", default=1.7 / 2, show_default=True, help="Of the ideal; else status 1.")
def main(workers: int, calls: int, turns: int, target: float) -> None:
    end_on_signals()
    if reason := h2load.missing():
        raise click.ClickException(reason)
    available = sorted(os.sched_getaffinity(0))
    enough = len(available) > workers
    own, other = (
        (set(available[:workers]), {available[workers]})
        if enough
        else (set(available), set(available))
    )
    with serving(1, own) as one, serving(workers, own) as several:
        for server in (one, several):
            turn(server, calls // 4, other)
        # In turn, so that a machine which changes its speed does so for both.
        taken = [[turn(server, calls, other) for server in (one, several)] for _ in range(turns)]
    rates = [statistics.median(pair[side][0] for pair in taken) for side in (0, 1)]
    costs = [statistics.median(pair[side][1] for pair in taken) for side in (0, 1)]
    shares = ", ".join(f"{share:.0%}" for share in taken[-1][1][2])
    click.echo(f"calls/s: 1 worker {rates[0]:,.0f}, {workers} workers {rates[1]:,.0f}")
    click.echo(f"processor a call: {costs[0] * 1e6:.2f} µs, {costs[1] * 1e6:.2f} µs; {shares}")
    gain = rates[1] / rates[0] if enough else workers * costs[0] / costs[1]
    how = "measured" if enough else f"by processor time: {len(available)} processors are too few"
    click.echo(f"{workers} workers serve {gain:.2f} times what one serves ({how})")
    if gain < workers * target:
        click.echo(f"missed: at least {workers * target:.2f}")
        sys.exit(1)


if __name__ == "__main__":
    main()
