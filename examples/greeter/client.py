"""Greets the Greeter server: `python -m examples.greeter.client --name world`."""

from __future__ import annotations

import argparse
import asyncio
import sys

import gyrfalcon as gyr

from .proto.helloworld_gyr import GreeterStub
from .proto.helloworld_pb2 import HelloRequest


async def greet(greeter: GreeterStub, name: str) -> str:
    return (await greeter.say_hello(HelloRequest(name=name))).message


async def run(target: str, name: str) -> None:
    async with gyr.Channel(target, default_timeout=5.0) as channel:
        print(await greet(GreeterStub(channel), name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.greeter.client", description=__doc__)
    parser.add_argument("target", nargs="?", default="127.0.0.1:50051", help="default: %(default)s")
    parser.add_argument("--name", default="world", help="whom to greet; default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options.target, options.name))
    except gyr.RpcError as error:
        sys.exit(f"greeter.client: {error}")


if __name__ == "__main__":
    main()
