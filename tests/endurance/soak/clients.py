"""One client process of a soak.

    python -m tests.endurance.soak.clients asyncio|blocking|grpcio TARGET...

Makes calls to all targets until its standard input ends, with a pause after each: it is time that
matters here, not load. Prints samples and, at the end, what is left.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import BlockingStub
from tests.call.service import Stub
from tests.endurance.programs import run
from tests.endurance.soak.calls import Plan, Tally, plan
from tests.endurance.soak.contract import KEY, PATHS, boxed
from tests.endurance.soak.figures import Figures, Rest, holding, obey, write

AT_ONCE = 6
"""calls to each target"""
PAUSE_S = 0.05

Result = tuple[str, list[bytes], object]
"""The code's name, the replies, what the trailing metadata says."""


# ---------------------------------------------------------------------- asyncio


class AsyncCaller:
    def __init__(self, target: str, channel: gyr.Channel, tally: Tally, rest: Rest) -> None:
        self.target = target
        self.stub = Stub(channel)
        self.tally = tally
        self.rest = rest

    async def work(self, number: int, over: asyncio.Event) -> None:
        dice = random.Random(os.urandom(8))
        while not over.is_set():
            if not self.rest.begin():
                await asyncio.to_thread(self.rest.wait)
                continue
            try:
                await self.call(dice)
            finally:
                self.rest.end()
            await asyncio.sleep(PAUSE_S * dice.random())

    async def call(self, dice: random.Random) -> None:
        # A function of its own: none of the messages is held while there is no call.
        one = plan(dice)
        self.tally.started += 1
        self.tally.count(one, self.target, *await self.make(one, dice))

    async def make(self, one: Plan, dice: random.Random) -> Result:
        method = getattr(self.stub, one.pattern)
        requests = [boxed(data) for data in one.requests]
        many = one.pattern in ("client_stream", "bidi")
        options = {"timeout": one.timeout, "metadata": {KEY: one.key}}
        call = method(requests if many else requests[0], **options)
        replies: list[bytes] = []
        try:
            if one.end == "cancelled":
                await asyncio.sleep(PAUSE_S * dice.random())
                call.cancel()
            if one.pattern in ("unary", "client_stream"):
                replies.append((await call).value)
            else:
                async for reply in call:
                    replies.append(reply.value)
        except gyr.RpcError as error:
            return error.code.name, replies, None
        except asyncio.CancelledError:
            if not call.cancelled():
                raise
            return "CANCELLED", replies, None
        return "OK", replies, (await call.trailing_metadata()).get(KEY)


async def call_asyncio(targets: Sequence[str]) -> None:
    before = holding()
    tally = Tally()
    figures = Figures(tally.figures)
    figures.loop = asyncio.get_running_loop()
    over, rest = asyncio.Event(), Rest()
    channels = [gyr.Channel(target) for target in targets]
    callers = [
        AsyncCaller(target, channel, tally, rest)
        for target, channel in zip(targets, channels, strict=True)
    ]
    figures.start()
    write({"ready": True})
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            for number in range(AT_ONCE):
                group.create_task(caller.work(number, over))
        await asyncio.to_thread(obey, figures, rest)
        over.set()
    for channel in channels:
        await channel.close()
    figures.finish(before, tasks_left=len(asyncio.all_tasks()) - 1)


# ---------------------------------------------------------------------- threads


Make = Callable[[Plan, random.Random], Result]


def work(call: Callable[[random.Random], None], over: threading.Event, rest: Rest) -> None:
    """One thread's calls."""
    dice = random.Random(os.urandom(8))
    while not over.is_set():
        if not rest.begin():
            rest.wait()
            continue
        try:
            call(dice)
        finally:
            rest.end()
        over.wait(PAUSE_S * dice.random())


def call_once(
    make: Make, target: str, tally: Tally, lock: threading.Lock, dice: random.Random
) -> None:
    one = plan(dice)
    with lock:
        tally.started += 1
    result = make(one, dice)
    with lock:
        tally.count(one, target, *result)


def call_in_threads(
    targets: Sequence[str], makers: Sequence[Make], close: Callable[[], None]
) -> None:
    """Calls from threads until standard input ends."""
    before = holding()
    tally, lock, over, rest = Tally(), threading.Lock(), threading.Event(), Rest()
    figures = Figures(tally.figures)
    threads = [
        threading.Thread(
            target=work, args=(partial(call_once, make, target, tally, lock), over, rest)
        )
        for target, make in zip(targets, makers, strict=True)
        for _ in range(AT_ONCE)
    ]
    figures.start()
    write({"ready": True})
    for thread in threads:
        thread.start()
    obey(figures, rest)
    over.set()
    for thread in threads:
        thread.join()
    close()
    figures.finish(before)


class BlockingCaller:
    def __init__(self, target: str) -> None:
        self.channel = gyr.blocking.Channel(target)
        self.stub = BlockingStub(self.channel)

    def make(self, one: Plan, dice: random.Random) -> Result:
        requests = [boxed(data) for data in one.requests]
        many = one.pattern in ("client_stream", "bidi")
        asked: Any = iter(requests) if many and dice.random() < 0.5 else requests
        options: Any = {"timeout": one.timeout, "metadata": {KEY: one.key}}
        method = getattr(self.stub, one.pattern)
        replies: list[bytes] = []
        try:
            if one.pattern in ("unary", "client_stream"):
                future = method.future(asked if many else requests[0], **options)
                if one.end == "cancelled":
                    future.cancel()
                replies.append(future.result().value)
                return "OK", replies, future.trailing_metadata().get(KEY)
            with method(asked if many else requests[0], **options) as call:
                if one.end == "cancelled":
                    call.cancel()
                replies += self.take(call, replies)
                return "OK", replies, call.trailing_metadata().get(KEY)
        except gyr.RpcError as error:
            return error.code.name, replies, None

    @staticmethod
    def take(call: Any, replies: list[bytes]) -> Iterator[bytes]:
        for reply in call:
            yield reply.value


def call_blocking(targets: Sequence[str]) -> None:
    callers = [BlockingCaller(target) for target in targets]

    def close() -> None:
        for caller in callers:
            caller.channel.close()

    call_in_threads(targets, [caller.make for caller in callers], close)


class StockCaller:
    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
        kinds = {
            "unary": self.channel.unary_unary,
            "server_stream": self.channel.unary_stream,
            "client_stream": self.channel.stream_unary,
            "bidi": self.channel.stream_stream,
        }
        self.methods: dict[str, Any] = {
            name: make(PATHS[name], BytesValue.SerializeToString, BytesValue.FromString)
            for name, make in kinds.items()
        }

    def make(self, one: Plan, dice: random.Random) -> Result:
        requests = [boxed(data) for data in one.requests]
        many = one.pattern in ("client_stream", "bidi")
        asked: Any = iter(requests) if many else requests[0]
        options: Any = {"timeout": one.timeout, "metadata": ((KEY, one.key),)}
        replies: list[bytes] = []
        try:
            if one.pattern in ("unary", "client_stream"):
                call = self.methods[one.pattern].future(asked, **options)
                if one.end == "cancelled":
                    call.cancel()
                replies.append(call.result().value)
            else:
                call = self.methods[one.pattern](asked, **options)
                if one.end == "cancelled":
                    call.cancel()
                for reply in call:
                    replies.append(reply.value)
        except grpc.RpcError as error:
            return error.code().name, replies, None
        except grpc.FutureCancelledError:
            return "CANCELLED", replies, None
        return "OK", replies, dict(call.trailing_metadata()).get(KEY)


def call_grpcio(targets: Sequence[str]) -> None:
    callers = [StockCaller(target) for target in targets]

    def close() -> None:
        for caller in callers:
            caller.channel.close()

    call_in_threads(targets, [caller.make for caller in callers], close)


def call_on_loop(targets: Sequence[str]) -> None:
    run(call_asyncio(targets), "uvloop")


KINDS = {"asyncio": call_on_loop, "blocking": call_blocking, "grpcio": call_grpcio}


def main() -> None:
    KINDS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
