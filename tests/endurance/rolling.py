"""A rolling restart of three servers under load: no call may fail.

    python -m tests.endurance.rolling --rate 1000 --rounds 1

One after another the servers get SIGTERM, drain, end, are started again and get calls again, while
a client that balances over all three begins so many calls a second. What a server never processed,
the client may send to another by itself; nothing else is done again. Each client in turn:
Gyrfalcon's asyncio and blocking channels, stock grpcio.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import grpc

import gyrfalcon as gyr
from gyrfalcon.policy import RoundRobin
from tests.call.service import UNARY, message
from tests.endurance.programs import say
from tests.workers.programs import Program

PATH = "/tests.Calls/Unary"
CALL_SECONDS = 30.0
TICK = 0.01
"""seconds: so often some calls are begun"""

SERVER = """
import asyncio, logging, sys
import gyrfalcon as gyr
from tests.call.service import Calls

calls = 0

async def unary(request, ctx):
    global calls
    calls += 1
    if calls == 1:
        logging.info("called")
    await asyncio.sleep(0.005)
    return request

logging.basicConfig(level="INFO", format="%(message)s")
gyr.Server([Calls(unary=unary)]).run(sys.argv[1])
"""


class Tally:
    """What became of the calls."""

    def __init__(self) -> None:
        self.ended: Counter[str] = Counter()
        self.why: list[str] = []
        self.stop = threading.Event()

    def note(self, error: BaseException | None) -> None:
        self.ended["OK" if error is None else "failed"] += 1
        if error is not None:
            self.why.append(str(error))


def paced(rate: int, tally: Tally, begin: Callable[[], None]) -> int:
    """Begin so many calls a second until told to stop: how many."""
    started, begun = time.monotonic(), 0
    while not tally.stop.wait(TICK):
        due = int((time.monotonic() - started) * rate)
        for _ in range(due - begun):
            begin()
        begun = due
    return begun


# ---------------------------------------------------------------------- the clients


def call_asyncio(target: str, rate: int, tally: Tally) -> int:
    async def call() -> int:
        async with gyr.Channel(target, balancer=RoundRobin) as channel:
            unary = gyr.UnaryUnary(channel, UNARY)
            await channel.wait_ready()
            calls: set[asyncio.Task[None]] = set()

            async def once() -> None:
                try:
                    await unary(message(), timeout=CALL_SECONDS)
                except gyr.RpcError as error:
                    tally.note(error)
                else:
                    tally.note(None)

            def begin() -> None:
                task = asyncio.ensure_future(once())
                calls.add(task)
                task.add_done_callback(calls.discard)

            started, begun = time.monotonic(), 0
            while not tally.stop.is_set():
                await asyncio.sleep(TICK)
                due = int((time.monotonic() - started) * rate)
                for _ in range(due - begun):
                    begin()
                begun = due
            await asyncio.gather(*calls)
            return begun

    return asyncio.run(call())


def call_blocking(target: str, rate: int, tally: Tally) -> int:
    with gyr.blocking.Channel(target, balancer=RoundRobin) as channel:
        unary = gyr.blocking.UnaryUnary(channel, UNARY)
        unary(message(), timeout=CALL_SECONDS, wait_for_ready=True)
        return with_futures(lambda: unary.future(message(), timeout=CALL_SECONDS), rate, tally)


def call_grpcio(target: str, rate: int, tally: Tally) -> int:
    config = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
    with grpc.insecure_channel(target, [("grpc.service_config", config)]) as channel:
        kind = type(message())
        unary = channel.unary_unary(PATH, kind.SerializeToString, kind.FromString)
        unary(message(), timeout=CALL_SECONDS, wait_for_ready=True)
        return with_futures(lambda: unary.future(message(), timeout=CALL_SECONDS), rate, tally)


def with_futures(call: Callable[[], Any], rate: int, tally: Tally) -> int:
    """Calls by futures, all of them ended."""
    ended = threading.Semaphore(0)

    def done(future: Any) -> None:
        tally.note(future.exception())
        ended.release()

    begun = paced(rate, tally, lambda: call().add_done_callback(done))
    for _ in range(begun):
        ended.acquire()
    return begun


CLIENTS = {"asyncio": call_asyncio, "blocking": call_blocking, "grpcio": call_grpcio}

# ---------------------------------------------------------------------- the servers


class Fleet:
    """Three servers, each a process."""

    def __init__(self) -> None:
        self.addresses = free_addresses(3)
        self.programs = [self.start(address) for address in self.addresses]

    @property
    def target(self) -> str:
        return f"ipv4:{','.join(self.addresses)}"

    def start(self, address: str) -> Program:
        started = Program([sys.executable, "-c", SERVER, address])
        started.read_until("listening on")
        return started

    def restart(self, number: int) -> None:
        self.stop(number)
        self.programs[number] = self.start(self.addresses[number])
        # As an orchestrator waits before it goes on: until the client is there again.
        self.programs[number].read_until("called")

    def stop(self, number: int) -> None:
        self.programs[number].signal(signal.SIGTERM)
        status = self.programs[number].end()
        assert status == 0, self.programs[number].lines

    def kill(self) -> None:
        for program in self.programs:
            program.drop()


def free_addresses(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in bound]


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    started = Fleet()
    try:
        yield started
    finally:
        started.kill()


def roll(client: str, rate: int, rounds: int) -> dict[str, Any]:
    """Restart all, under the load of one client."""
    tally, begun = Tally(), [0]
    with fleet() as servers:

        def call() -> None:
            begun[0] = CLIENTS[client](servers.target, rate, tally)

        thread = threading.Thread(target=call)
        thread.start()
        try:
            for _ in range(rounds):
                for number in range(len(servers.programs)):
                    servers.restart(number)
        finally:
            tally.stop.set()
            thread.join()
    return {"begun": begun[0], **tally.ended, "why": Counter(tally.why).most_common(5)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    report = {one: roll(one, options.rate, options.rounds) for one in options.clients}
    say(report)
    well = all(one["begun"] > 0 and one.get("OK") == one["begun"] for one in report.values())
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
