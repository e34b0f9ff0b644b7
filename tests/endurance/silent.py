"""Thousands of connections that say nothing, and how soon new good ones are served beside them."""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import time

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub
from tests.endurance.programs import report_of, run, say, serving, stdin_ends


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(timeout: float) -> None:
    """Print the port, and serve until standard input ends."""
    raise_limit()
    async with gyr.Server([Calls(unary=echo)], handshake_timeout=timeout) as server:
        print(await server.listen("127.0.0.1:0"), flush=True)
        await stdin_ends()


async def call_beside(port: int, count: int, calls: int) -> None:
    """Open that many connections, make calls on new connections, and wait until the server has
    dropped all that are silent; print the seconds."""
    raise_limit()
    began = time.monotonic()
    silent = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port))
        one.setblocking(False)
        silent.append(one)
    opened = time.monotonic()
    # The last of them is accepted before the first call is made: what is measured is being beside
    # them, not behind them in the kernel's queue.
    while True:
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            await Stub(channel).unary(BytesValue(), timeout=60)
        break
    seconds = []
    for _ in range(calls):
        start = time.monotonic()
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            await Stub(channel).unary(BytesValue(value=b"x"), timeout=60)
        seconds.append(time.monotonic() - start)
    loop = asyncio.get_running_loop()
    for one in silent:
        while await loop.sock_recv(one, 4096):
            pass
        one.close()
    seconds.sort()
    say(
        {
            "opening": opened - began,
            "median": seconds[len(seconds) // 2],
            "slowest": seconds[-1],
            "gone": time.monotonic() - began,
        }
    )


def measure(loop: str, count: int, timeout: float, calls: int) -> dict[str, float]:
    """Both programs; the seconds."""
    with serving("silent", loop, "serve", timeout) as port:
        seconds: dict[str, float] = report_of("silent", loop, "call", port, count, calls)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("role", choices=["serve", "call", "measure"])
    parser.add_argument("numbers", type=float, nargs="*")
    options = parser.parse_args()
    numbers = options.numbers
    if options.role == "serve":
        run(serve(numbers[0]), options.loop)
    elif options.role == "call":
        run(call_beside(*map(int, numbers)), options.loop)
    else:
        count, timeout, calls = numbers or (5000, 20, 200)
        say(measure(options.loop, int(count), timeout, int(calls)))


if __name__ == "__main__":
    main()
