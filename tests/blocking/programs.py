"""What these tests share: an asyncio client for tests that block, and threads that drain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import gyrfalcon as gyr
from gyrfalcon.transport.loops import LoopThread
from tests.call.service import Stub, message

# What a test waits for longer than this has failed.
SAFETY_NET_S = 30.0

T = TypeVar("T")


class Client:
    """An asyncio channel on a loop in a thread of its own."""

    def __init__(self, thread: LoopThread, stub: Stub) -> None:
        self._thread = thread
        self.stub = stub

    def run(self, function: Callable[[Stub], Coroutine[Any, Any, T]]) -> T:
        """Await `function(stub)` and return what it returns."""
        return self.submit(function).result(SAFETY_NET_S)

    def submit(self, function: Callable[[Stub], Coroutine[Any, Any, T]]) -> Future[T]:
        return self._thread.submit(function(self.stub))

    def unary(self, data: bytes = b"", **options: Any) -> bytes:
        return self.start_unary(data, **options).result(SAFETY_NET_S)

    def start_unary(self, data: bytes = b"", **options: Any) -> Future[bytes]:
        async def call(stub: Stub) -> bytes:
            return (await stub.unary(message(data), **options)).value

        return self.submit(call)


@contextmanager
def client(target: int | str, **options: Any) -> Iterator[Client]:
    """A client of a port of this machine, or of a target."""
    thread = LoopThread("test-client")
    thread.start()

    async def open_channel() -> Stub:
        return Stub(
            gyr.Channel(target if isinstance(target, str) else f"127.0.0.1:{target}", **options)
        )

    try:
        stub = thread.run(open_channel())
        try:
            yield Client(thread, stub)
        finally:
            thread.run(stub.channel.close())
    finally:
        thread.stop()


@contextmanager
def draining(
    queue: gyr.blocking.CompletionQueue, handle: Callable[[Any], object], threads: int = 1
) -> Iterator[None]:
    """Threads that hand each event of a queue to a function, until the queue has ended."""
    failures: list[BaseException] = []

    def drain() -> None:
        for event in queue:
            try:
                handle(event)
            except BaseException as failure:
                failures.append(failure)

    running = [threading.Thread(target=drain) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        queue.shutdown()
        for thread in running:
            thread.join(SAFETY_NET_S)
    assert [thread.is_alive() for thread in running] == [False] * threads
    assert failures == []


def next_event(queue: gyr.blocking.CompletionQueue) -> gyr.blocking.Event[Any]:
    """The next event, which has to come."""
    event = queue.next(timeout=SAFETY_NET_S)
    assert event is not None, "the queue ended"
    return event
