"""Greets the Greeter server from threads: `python -m examples.greeter.blocking_client`.

In three ways: a call that is waited for; one that is completed later, by a callback; many that one
thread starts and another takes from a completion queue.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from queue import SimpleQueue

import gyrfalcon as gyr
from gyrfalcon.blocking import Channel, CompletionQueue

from .proto.helloworld_gyr import GreeterBlockingStub
from .proto.helloworld_pb2 import HelloReply, HelloRequest

CALLS = 100


def greet(greeter: GreeterBlockingStub, name: str) -> str:
    """Waits for the reply."""
    return greeter.say_hello(HelloRequest(name=name)).message


def greet_later(greeter: GreeterBlockingStub, name: str) -> str:
    """Returns at once from the call; a callback brings the reply when it is there."""
    done: SimpleQueue[Future[HelloReply]] = SimpleQueue()
    greeter.say_hello.future(HelloRequest(name=name)).add_done_callback(done.put)
    # Here a program does something else.
    return done.get().result().message


def greet_all(greeter: GreeterBlockingStub, names: Iterable[str]) -> dict[str, str]:
    """Starts a call for each name, all in flight together; another thread takes the replies."""
    queue = CompletionQueue()
    greetings: dict[str, str] = {}

    def drain() -> None:
        for event in queue:
            greetings[event.tag] = event.result().message if event.ok else "nothing"

    drainer = threading.Thread(target=drain)
    drainer.start()
    try:
        for name in names:
            greeter.say_hello.start(HelloRequest(name=name), queue=queue, tag=name)
    finally:
        # What is under way is still delivered; the drainer ends after the last of it.
        queue.shutdown()
        drainer.join()
    return greetings


def run(target: str, name: str) -> None:
    with Channel(target, default_timeout=5.0) as channel:
        greeter = GreeterBlockingStub(channel)
        print("waited for:", greet(greeter, name))
        print("by callback:", greet_later(greeter, name))
        names = [f"{name} {number}" for number in range(CALLS)]
        greetings = greet_all(greeter, names)
        right = sum(greetings[each] == f"Hello {each}" for each in names)
        print(f"from the completion queue: {right} of {CALLS} greetings")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.greeter.blocking_client", description="Greets from threads."
    )
    parser.add_argument("target", nargs="?", default="127.0.0.1:50051", help="default: %(default)s")
    parser.add_argument("--name", default="world", help="whom to greet; default: %(default)s")
    options = parser.parse_args()
    try:
        run(options.target, options.name)
    except gyr.RpcError as error:
        sys.exit(f"greeter.blocking_client: {error}")


if __name__ == "__main__":
    main()
