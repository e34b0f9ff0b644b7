"""The loads of blocking clients, for each alike: one call at a time, and threads that share a
channel."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from benchmarks import payloads
from benchmarks.peers.drive import BLOCK, Turns, summarise
from benchmarks.peers.echo import bounce_blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.program import Load
    from benchmarks.protos.bench_pb2 import Order

    Buy = Callable[[Order], Any]
    """The unary call: the stub's own method, so that nothing stands between."""


def latency(buy: Buy, load: Load) -> dict[str, float]:
    """One call at a time, in turn with a raw echo of the same bytes: warm up, then measure."""
    with socket.create_connection(("127.0.0.1", load.echo_port)) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        latencies(buy, connected, load.warm_up)
        return latencies(buy, connected, load.seconds)


def latencies(buy: Buy, connected: socket.socket, seconds: float) -> dict[str, float]:
    calls: list[int] = []
    echoes: list[int] = []
    order, payload = payloads.ORDER, payloads.framed(payloads.ORDER)
    clock = time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    while clock() < end:
        echoes += bounce_blocking(connected, payload, BLOCK)
        for _ in range(BLOCK):
            began = clock()
            buy(order)
            calls.append(clock() - began)
    return summarise(calls, echoes)


def throughput(
    work: Callable[[Load, Turns], int], load: Load, seconds: float | None
) -> dict[str, float]:
    """What `work` does in so many seconds, or in the load's number of calls."""
    turns = Turns(2**62 if seconds is not None else load.calls)
    with contextlib.ExitStack() as stack:
        if seconds is not None:
            timer = threading.Timer(seconds, turns.stop)
            timer.start()
            stack.callback(timer.cancel)
        began, cpu = time.perf_counter(), time.process_time()
        n = work(load, turns)
        return {
            "n": n,
            "seconds": time.perf_counter() - began,
            "client_cpu": time.process_time() - cpu,
        }


def from_threads(buy: Buy, load: Load, turns: Turns) -> int:
    """`in_flight` threads that call as fast as they are answered."""
    order, failures = payloads.ORDER, []
    counts = [0] * load.in_flight

    def work(index: int) -> None:
        try:
            # Each looks at the limit for itself: no lock stands between the calls.
            while sum(counts) < turns.limit:
                buy(order)
                counts[index] += 1
        except BaseException as failure:  # not this thread's to handle
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(load.in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts)
