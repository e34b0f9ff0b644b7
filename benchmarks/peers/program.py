"""What every Python peer's program has in common: its command line and the end of its life.

``serve`` prints the port and ends when its standard input does, so no server outlives the program
that started it. ``call`` runs one load and prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

WORKERS = 10
"""Threads of a server that runs its handlers in a pool, as in grpcio's own examples."""

Loop = Literal["asyncio", "uvloop"]


@dataclass(frozen=True, slots=True)
class Load:
    """One measurement as asked for on the command line."""

    kind: str
    """unary, threads, latency, download, upload or chat"""
    port: int
    echo_port: int
    seconds: float
    warm_up: float
    calls: int
    """stop after so many calls (or exchanges) instead of after `seconds`; 0: by time"""
    in_flight: int
    count: int
    """messages in one stream"""
    size: int
    """bytes of data in a streamed chunk"""
    threads: bool = False
    """serve with handlers that are plain functions, in a pool of `WORKERS` threads"""
    cert: str = ""
    """serve with TLS: the file of the certificate, and `key` that of its key"""
    key: str = ""

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


def parse(arguments: list[str] | None = None) -> tuple[str, Loop, Load]:
    """What to do (``serve`` or ``call``), on which loop, with which load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    verbs = parser.add_subparsers(dest="verb", required=True)
    serve = verbs.add_parser("serve")
    serve.add_argument("--threads", action="store_true")
    serve.add_argument("--cert", default="")
    serve.add_argument("--key", default="")
    call = verbs.add_parser("call")
    call.add_argument("kind", choices=("unary", "threads", "latency", "download", "upload", "chat"))
    call.add_argument("--port", type=int, required=True)
    call.add_argument("--echo-port", type=int, default=0)
    call.add_argument("--seconds", type=float, default=1.0)
    call.add_argument("--warm-up", type=float, default=0.3)
    call.add_argument("--calls", type=int, default=0)
    call.add_argument("--in-flight", type=int, default=1)
    call.add_argument("--count", type=int, default=1)
    call.add_argument("--size", type=int, default=1)
    values = vars(parser.parse_args(arguments))
    verb, loop = values.pop("verb"), values.pop("loop")
    load = Load(**values) if verb == "call" else Load("", 0, 0, 0, 0, 0, 0, 0, 0, **values)
    return verb, loop, load


def run(main: Coroutine[Any, Any, None], loop: Loop) -> None:
    """Run `main` on a new event loop of the kind asked for."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def announce_and_wait(port: int) -> None:
    """Print the port, then return when standard input ends."""
    print(port, flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def report(result: dict[str, float]) -> None:
    """Print the outcome of a load."""
    print(json.dumps(result), flush=True)
