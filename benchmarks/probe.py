"""``python -m benchmarks.probe``: how soon a health probe is answered at full load.

One worker serves as many unary calls as h2load can make it (10 connections × 50 streams), while
another program asks grpc.health.v1's Check, twenty times a second on a connection of its own and
every tenth time on a new one, as an orchestrator does.

What counts is how long the worker lets the probe wait: the time that passes where it has its
processor for itself, and where it has not, the processor time that it uses meanwhile.
"""

from __future__ import annotations

import statistics
import sys
import time

import click

import gyrfalcon as gyr
from benchmarks import h2load
from benchmarks.processes import Program, cores, end_on_signals, pinned
from benchmarks.serving import Serving, serving
from gyrfalcon.services.health import HealthBlockingStub, health_pb2

PATIENCE = 60.0
PAUSE = 0.05
FULL = 0.85
"""Of a processor: with less the worker shared it with other programs."""
NEW_CONNECTION = 10
"""Every so many probes."""


def probe(server: Serving, seconds: float) -> tuple[list[float], list[float]]:
    """Of each probe the milliseconds that pass, and those that the worker works meanwhile;
    connecting included, where it connects."""
    passed: list[float] = []
    worked: list[float] = []
    target = f"127.0.0.1:{server.port}"
    end = time.perf_counter() + seconds
    with gyr.blocking.Channel(target) as kept:
        check(kept)
        while time.perf_counter() < end:
            began, used = time.perf_counter(), server.processor_seconds()[0]
            if len(passed) % NEW_CONNECTION:
                check(kept)
            else:
                with gyr.blocking.Channel(target) as channel:
                    check(channel)
            passed.append(1e3 * (time.perf_counter() - began))
            worked.append(1e3 * (server.processor_seconds()[0] - used))
            time.sleep(PAUSE)
    return passed, worked


def check(channel: gyr.blocking.Channel) -> None:
    reply = HealthBlockingStub(channel).check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def shown(title: str, milliseconds: list[float]) -> str:
    middle = statistics.median(milliseconds)
    last = statistics.quantiles(milliseconds, n=100)[98]
    top = max(milliseconds)
    return f"{title}: p50 {middle:.1f} ms, p99 {last:.1f} ms, longest {top:.1f} ms"


@click.command(help=__doc__)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--target", default=100.0, show_default=True, help="ms, for p99; else status 1.")
def main(seconds: float, target: float) -> None:
    end_on_signals()
    if reason := h2load.missing():
        raise click.ClickException(reason)
    own, other = cores()
    with serving(1, own) as server, pinned(other):
        idle, _ = probe(server, seconds / 4)
        before = server.processor_seconds()[0]
        # Longer than the probes take, so that the load is there for all of them.
        with (
            server.load().command(f"--duration={seconds + 2:.0f}") as command,
            Program(command, other) as load,
        ):
            began = time.perf_counter()
            passed, worked = probe(server, seconds)
            share = (server.processor_seconds()[0] - before) / (time.perf_counter() - began)
            rate = h2load.rate_in(load.rest(PATIENCE))
    click.echo(shown("idle", idle))
    click.echo(shown(f"at {rate:,.0f} calls/s", passed))
    click.echo(shown("of these the worker worked", worked))
    click.echo(f"the worker had {share:.0%} of a processor, {len(passed)} probes")
    counts = passed if share > FULL else worked
    if statistics.quantiles(counts, n=100)[98] >= target:
        click.echo(f"missed: under {target:g} ms")
        sys.exit(1)


if __name__ == "__main__":
    main()
