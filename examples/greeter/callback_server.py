"""The Greeter server with callbacks: `python -m examples.greeter.callback_server`.

The handler returns at once; threads of the program's own answer, when they come to it.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

import gyrfalcon as gyr
from examples.serving import serve_from_threads
from gyrfalcon.blocking import Finish, Server, callback

from .proto.helloworld_gyr import GreeterService
from .proto.helloworld_pb2 import HelloReply, HelloRequest


class Greeter(GreeterService):
    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor

    @callback
    def say_hello(
        self, request: HelloRequest, ctx: gyr.ServerContext, finish: Finish[HelloReply]
    ) -> None:
        self._executor.submit(self._greet, request, finish)

    def _greet(self, request: HelloRequest, finish: Finish[HelloReply]) -> None:
        if finish.cancelled:
            return  # nobody waits for it any more
        finish(HelloReply(message=f"Hello {request.name}"))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.greeter.callback_server", description=__doc__
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:50051", metavar="ADDRESS", help="default: %(default)s"
    )
    options = parser.parse_args()
    with ThreadPoolExecutor(2) as executor:
        serve_from_threads(Server([Greeter(executor)]), options.listen)


if __name__ == "__main__":
    main()
