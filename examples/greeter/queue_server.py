"""The Greeter server of gRPC C++: `python -m examples.greeter.queue_server`.

No handlers: threads take events from a completion queue, and each call is a small state machine.
"""

from __future__ import annotations

import argparse
import enum
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.serving import serve_from_threads
from gyrfalcon.blocking import CompletionQueue, Event, QueueCall, QueueServer

from .proto.helloworld_gyr import GreeterService
from .proto.helloworld_pb2 import HelloReply, HelloRequest


class State(enum.Enum):
    CREATE = "create"
    PROCESS = "process"
    FINISH = "finish"


class CallData:
    """One call, from asking for it to its end. It is the tag of its own events."""

    def __init__(self, server: QueueServer, queue: CompletionQueue) -> None:
        self.server = server
        self.queue = queue
        self.state = State.CREATE
        self.proceed()

    def proceed(self, event: Event[Any] | None = None) -> None:
        """Do the next step; `event` is what the one before ended with."""
        if self.state is State.CREATE:
            # First: another thread may have the event before the next line is done.
            self.state = State.PROCESS
            self.server.request_call(GreeterService.say_hello, queue=self.queue, tag=self)
        elif self.state is State.PROCESS:
            assert event is not None
            if not event.ok:
                return  # the server has stopped: no call came
            call: QueueCall[HelloRequest, HelloReply] = event.result()
            # Another one takes the next call, while this one is being answered.
            CallData(self.server, self.queue)
            self.state = State.FINISH
            call.finish(HelloReply(message=f"Hello {call.request.name}"), tag=self)
        # After FINISH there is nothing to do: the answer was given, or nobody waits for it.


def drain(queue: CompletionQueue) -> None:
    for event in queue:
        event.tag.proceed(event)


@contextmanager
def answering(server: QueueServer, threads: int = 2) -> Iterator[None]:
    """Answers the server's calls; leaving the block stops the server, then ends the threads."""
    queue = CompletionQueue()
    CallData(server, queue)
    drainers = [threading.Thread(target=drain, args=(queue,)) for _ in range(threads)]
    for thread in drainers:
        thread.start()
    try:
        yield
    finally:
        server.stop()
        queue.shutdown()
        for thread in drainers:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.greeter.queue_server", description=__doc__
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:50051", metavar="ADDRESS", help="default: %(default)s"
    )
    options = parser.parse_args()
    server = QueueServer([GreeterService])
    with answering(server):
        serve_from_threads(server, options.listen)


if __name__ == "__main__":
    main()
