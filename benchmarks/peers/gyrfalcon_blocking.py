"""gyrfalcon for programs of threads: its blocking server and its blocking channel."""

from __future__ import annotations

import functools
import sys

import gyrfalcon as gyr
from benchmarks import payloads
from benchmarks.peers import callers
from benchmarks.peers.gyrfalcon_loop import ThreadedBench
from benchmarks.peers.program import WORKERS, Load, parse, report
from benchmarks.protos.bench_gyr import BenchBlockingStub


def serve() -> None:
    with gyr.blocking.Server([ThreadedBench()], max_workers=WORKERS) as server:
        print(server.listen("127.0.0.1:0"), flush=True)
        sys.stdin.read()


def call(load: Load) -> dict[str, float]:
    with gyr.blocking.Channel(load.target) as channel:
        buy = BenchBlockingStub(channel).buy
        reply = buy(payloads.ORDER)
        if reply != payloads.RECEIPT:
            raise AssertionError(f"the server answered {reply!r}")
        if load.kind == "latency":
            return callers.latency(buy, load)
        if load.kind != "threads":
            raise SystemExit(f"no load {load.kind!r} here: latency or threads")
        work = functools.partial(callers.from_threads, buy)
        if load.calls:
            return callers.throughput(work, load, None)
        callers.throughput(work, load, load.warm_up)
        return callers.throughput(work, load, load.seconds)


if __name__ == "__main__":
    verb, _, load = parse()
    if verb == "serve":
        serve()
    else:
        report(call(load))
