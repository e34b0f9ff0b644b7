"""Connections that grow old every second under load, and what becomes of the calls."""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from typing import Any

import grpc.aio
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import UNARY, Calls, Stub
from tests.endurance.programs import report_of, run, say, start, stdin_ends


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    # Some are under way whenever a connection ends.
    await asyncio.sleep(0.001)
    return request


async def serve(age: float) -> None:
    """Print the port, serve until standard input ends, then print how many connections grew old."""
    async with gyr.Server([Calls(unary=echo)], max_connection_age=age) as server:
        print(await server.listen("127.0.0.1:0"), flush=True)
        await stdin_ends()
        say(server.stats().limits.get("max_connection_age", 0))


class Load:
    """Calls one after another, by several at once, for so long."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds
        self.calls = 0
        self.errors: list[str] = []

    def goes_on(self) -> bool:
        return time.monotonic() < self.until

    def note(self, error: Exception | None) -> None:
        self.calls += 1
        if error is not None:
            self.errors.append(str(error))

    async def repeat(self, call: Any) -> None:
        while self.goes_on():
            try:
                await call()
            except (gyr.RpcError, grpc.RpcError) as error:
                self.note(error)
            else:
                self.note(None)

    def repeat_blocking(self, call: Any) -> None:
        while self.goes_on():
            try:
                call()
            except (gyr.RpcError, grpc.RpcError) as error:
                self.note(error)
            else:
                self.note(None)


AT_ONCE = 10


async def call_gyrfalcon(target: str, load: Load) -> None:
    async with gyr.Channel(target) as channel:
        stub = Stub(channel)
        await asyncio.gather(
            *(load.repeat(lambda: stub.unary(BytesValue(value=b"x"))) for _ in range(AT_ONCE))
        )


async def call_grpcio(target: str, load: Load) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        method = channel.unary_unary(
            "/tests.Calls/Unary",
            request_serializer=BytesValue.SerializeToString,
            response_deserializer=BytesValue.FromString,
        )
        await asyncio.gather(
            *(load.repeat(lambda: method(BytesValue(value=b"x"))) for _ in range(AT_ONCE))
        )


async def call_blocking(target: str, load: Load) -> None:
    with gyr.blocking.Channel(target) as channel:
        method = gyr.blocking.UnaryUnary[BytesValue, BytesValue](channel, UNARY)
        threads = [
            threading.Thread(
                target=load.repeat_blocking, args=(lambda: method(BytesValue(value=b"x")),)
            )
            for _ in range(AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)


CLIENTS = {"gyrfalcon": call_gyrfalcon, "blocking": call_blocking, "grpcio": call_grpcio}


async def call(port: int, client: str, seconds: float) -> None:
    load = Load(seconds)
    await CLIENTS[client](f"127.0.0.1:{port}", load)
    say({"calls": load.calls, "failed": len(load.errors), "errors": sorted(set(load.errors))[:5]})


def measure(loop: str, client: str, age: float, seconds: float) -> dict[str, Any]:
    """Both programs; what they say."""
    with start("age", loop, "serve", age) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        seen: dict[str, Any] = report_of("age", loop, "call", port, client, seconds)
        process.stdin.close()
        seen["ages"] = int(process.stdout.read())
    assert process.returncode == 0
    return seen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("role", choices=["serve", "call", "measure"])
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    rest = options.rest
    if options.role == "serve":
        run(serve(float(rest[0])), options.loop)
    elif options.role == "call":
        run(call(int(rest[0]), rest[1], float(rest[2])), options.loop)
    else:
        for client in CLIENTS:
            say({client: measure(options.loop, client, *map(float, rest or ("1", "105")))})


if __name__ == "__main__":
    main()
