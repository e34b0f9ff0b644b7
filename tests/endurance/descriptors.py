"""A server in a process with few descriptors, and more connections than they are good for."""

from __future__ import annotations

import argparse
import contextlib
import logging
import resource
import socket
import time

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub
from tests.endurance.programs import report_of, run, say, stdin_ends


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


class Messages(logging.Handler):
    """What asyncio logs when accepting fails."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


async def serve(files: int) -> None:
    """Print the port, serve until standard input ends, then print what happened."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    messages = Messages()
    logging.getLogger("asyncio").addHandler(messages)
    logging.getLogger("asyncio").propagate = False
    logging.getLogger("gyrfalcon").setLevel(logging.ERROR)
    server = gyr.Server([Calls(unary=echo)])
    async with server:
        print(await server.listen("127.0.0.1:0"), flush=True)
        await stdin_ends()
        stats = server.stats()
        say({"limits": dict(stats.limits), "errors": messages.found})


async def connect_and_call(port: int, count: int) -> None:
    """Connect so often without a word, then call; print how long the calls took."""
    seconds = {}

    async def call(name: str) -> None:
        began = time.monotonic()
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            while True:
                with contextlib.suppress(gyr.Unavailable):
                    await Stub(channel).unary(BytesValue(value=b"x"), timeout=30)
                    break
        seconds[name] = time.monotonic() - began

    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, count + 200))
    await call("before")
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    # The server has looked at all of them when it has answered one more, or closed it.
    with socket.create_connection(("127.0.0.1", port)) as last:
        last.settimeout(30)
        last.recv(1)
    for one in opened:
        one.close()
    await call("after")
    say(seconds)


def measure(loop: str, files: int, count: int) -> dict[str, object]:
    """Both programs; what they say."""
    import json

    from tests.endurance.programs import start

    with start("descriptors", loop, "serve", files) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = int(process.stdout.readline())
        calls = report_of("descriptors", loop, "call", port, count)
        process.stdin.close()
        served = json.loads(process.stdout.read())
    assert process.returncode == 0
    return {"seconds": calls, **served}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("role", choices=["serve", "call", "measure"])
    parser.add_argument("numbers", type=int, nargs="*")
    options = parser.parse_args()
    if options.role == "serve":
        run(serve(*options.numbers), options.loop)
    elif options.role == "call":
        run(connect_and_call(*options.numbers), options.loop)
    else:
        say(measure(options.loop, *(options.numbers or (256, 1000))))


if __name__ == "__main__":
    main()
