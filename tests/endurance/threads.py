"""Many threads on one blocking channel, whose server is killed and started again and again.

Each thread makes calls of all patterns, waits for them in every way there is, cancels some, and
gives some too little time. Every call has to end, once, with the right answer or an error.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.blocking import CompletionQueue
from tests.blocking.service import BlockingStub
from tests.call.service import Calls, message
from tests.endurance.programs import ROOT, run, say, stdin_ends

# Longer than any call may take: its own deadline is shorter.
STUCK_S = 60.0
SIZES = (0, 10, 1_000, 100_000)

# ---------------------------------------------------------------------- server


async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    if len(request.value) == 10:
        await asyncio.sleep(0.01)
    return request


async def repeat(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    for _ in range(5):
        yield request


def join(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return BytesValue(value=b"%d" % sum(len(request.value) for request in requests))


async def echo_each(
    requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for request in requests:
        yield request


async def serve(address: str) -> None:
    service = Calls(unary=unary, server_stream=repeat, client_stream=join, bidi=echo_each)
    async with gyr.Server([service]) as server:
        await server.listen(address)
        say("ready")
        await stdin_ends()


class Restarted:
    """A server process that is killed, and another started in its place."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.killed = -1
        self.restart()

    def restart(self) -> None:
        if self.killed >= 0:
            self.kill()
        self.killed += 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.endurance.threads", "serve", "--address", self._address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == '"ready"\n'

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


# ---------------------------------------------------------------------- client


class Caller:
    """One thread's calls."""

    def __init__(self, stub: BlockingStub, seed: int) -> None:
        self._stub = stub
        self._random = random.Random(seed)
        self.started = 0
        self.ended = 0
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._kinds: list[Callable[[BytesValue, float], None]] = [
            self.unary, self.repeated, self.joined, self.echoed, self.future, self.queued,
        ]  # fmt: skip

    def work(self, until: float) -> None:
        while time.monotonic() < until:
            request = message(os.urandom(self._random.choice(SIZES)))
            timeout = self._random.choice((0.001, 0.01, 0.1, 5.0))
            kind = self._random.choice(self._kinds)
            self.started += 1
            try:
                kind(request, timeout)
                self.outcomes["OK"] += 1
            except gyr.RpcError as error:
                self.outcomes[error.code.name] += 1
            except EOFError:
                self.outcomes["ended early"] += 1
            self.ended += 1

    def check(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            self.wrong.append(f"{what}: {actual!r:.200}")

    def unary(self, request: BytesValue, timeout: float) -> None:
        self.check("unary", self._stub.unary(request, timeout=timeout), request)

    def repeated(self, request: BytesValue, timeout: float) -> None:
        with self._stub.server_stream(request, timeout=timeout) as call:
            if self._random.random() < 0.3:
                next(call)
                return
            self.check("server stream", list(call), [request] * 5)

    def joined(self, request: BytesValue, timeout: float) -> None:
        requests = [request] * 3
        given = requests if self._random.random() < 0.5 else iter(requests)
        reply = self._stub.client_stream(given, timeout=timeout)
        self.check("client stream", reply.value, b"%d" % (3 * len(request.value)))

    def echoed(self, request: BytesValue, timeout: float) -> None:
        with self._stub.bidi(timeout=timeout) as call:
            for _ in range(3):
                call.send(request)
                reply = call.receive()
                if reply is None:
                    call.status()
                    return
                self.check("bidi", reply, request)
            if self._random.random() < 0.3:
                call.cancel()
            else:
                call.done_sending()
                self.check("end of bidi", call.receive(), None)

    def future(self, request: BytesValue, timeout: float) -> None:
        future = self._stub.unary.future(request, timeout=timeout)
        if self._random.random() < 0.3:
            future.cancel()
        self.check("future", future.result(STUCK_S), request)

    def queued(self, request: BytesValue, timeout: float) -> None:
        queue = CompletionQueue()
        call = self._stub.unary.start(request, queue=queue, tag=self.started, timeout=timeout)
        if self._random.random() < 0.3:
            call.cancel()
        queue.shutdown()
        events = list(queue)
        self.check("tags", [event.tag for event in events], [self.started])
        self.check("queued", events[0].result(), request)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def call(seconds: float, threads: int, every: float, seed: int) -> None:
    faulthandler.dump_traceback_later(seconds + STUCK_S, exit=True)
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder, 'socket')}"
        before = threading.active_count(), descriptors()
        server = Restarted(address)
        with gyr.blocking.Channel(address) as channel:
            stub = BlockingStub(channel)
            callers = [Caller(stub, seed * threads + number) for number in range(threads)]
            until = time.monotonic() + seconds
            running = [threading.Thread(target=one.work, args=(until,)) for one in callers]
            for thread in running:
                thread.start()
            while (left := until - time.monotonic()) > 0:
                # Paces the faults; nothing waits for it.
                running[0].join(min(every, left))
                if left > every:
                    server.restart()
            for thread in running:
                thread.join()
        server.kill()
    faulthandler.cancel_dump_traceback_later()
    outcomes = sum((one.outcomes for one in callers), Counter())
    say({
        "started": sum(one.started for one in callers),
        "ended": sum(one.ended for one in callers),
        "counted": outcomes.total(),
        "outcomes": outcomes,
        "wrong": [what for one in callers for what in one.wrong],
        "killed": server.killed,
        "before": before,
        "after": (threading.active_count(), descriptors()),
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=("serve", "call"))
    parser.add_argument("--address")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--every", type=float, default=5, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=0, help="of what the threads choose by chance")
    options = parser.parse_args()
    if options.verb == "serve":
        run(serve(options.address), "uvloop")
    else:
        call(options.seconds, options.threads, options.every, options.seed)


if __name__ == "__main__":
    main()
