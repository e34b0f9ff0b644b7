"""The Greeter server: `python -m examples.greeter.server`."""

from __future__ import annotations

import argparse
import asyncio

import gyrfalcon as gyr
from examples.serving import serve

from .proto.helloworld_gyr import GreeterService
from .proto.helloworld_pb2 import HelloReply, HelloRequest


class Greeter(GreeterService):
    async def say_hello(self, request: HelloRequest, ctx: gyr.ServerContext) -> HelloReply:
        return HelloReply(message=f"Hello {request.name}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.greeter.server", description=__doc__)
    parser.add_argument(
        "--listen", default="127.0.0.1:50051", metavar="ADDRESS", help="default: %(default)s"
    )
    asyncio.run(serve(Greeter(), parser.parse_args().listen))


if __name__ == "__main__":
    main()
