"""``python -m benchmarks.probe``: how soon a health probe is answered at full load.

One worker serves as many unary calls as h2load can make it (10 connections × 50 streams), while
another program asks grpc.health.v1's Check, twenty times a second on a connection of its own and
every tenth time on a new one, as an orchestrator does.
"""

from __future__ import annotations

import statistics
import sys
import time

import click

import gyrfalcon as gyr
from benchmarks import h2load
from benchmarks.processes import Program, cores, end_on_signals, pinned
from benchmarks.serving import serving
from gyrfalcon.services.health import HealthBlockingStub, health_pb2

PATIENCE = 60.0
PAUSE = 0.05
NEW_CONNECTION = 10
"""Every so many probes."""


def probe(target: str, seconds: float) -> list[float]:
    """The milliseconds of each probe; connecting included, where it connects."""
    found = []
    end = time.perf_counter() + seconds
    with gyr.blocking.Channel(target) as kept:
        check(kept)
        while time.perf_counter() < end:
            began = time.perf_counter()
            if len(found) % NEW_CONNECTION:
                check(kept)
            else:
                with gyr.blocking.Channel(target) as channel:
                    check(channel)
            found.append(1e3 * (time.perf_counter() - began))
            time.sleep(PAUSE)
    return found


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
        where = f"127.0.0.1:{server.port}"
        idle = probe(where, seconds / 4)
        before = server.processor_seconds()[0]
        # Longer than the probes take, so that the load is there for all of them.
        with (
            server.load().command(f"--duration={seconds + 2:.0f}") as command,
            Program(command, other) as load,
        ):
            began = time.perf_counter()
            busy = probe(where, seconds)
            share = (server.processor_seconds()[0] - before) / (time.perf_counter() - began)
            rate = h2load.rate_in(load.rest(PATIENCE))
    click.echo(shown("idle", idle))
    click.echo(shown(f"at {rate:,.0f} calls/s", busy))
    click.echo(f"the worker used {share:.0%} of its processor, {len(busy)} probes")
    if statistics.quantiles(busy, n=100)[98] >= target:
        click.echo(f"missed: under {target:g} ms")
        sys.exit(1)


if __name__ == "__main__":
    main()
