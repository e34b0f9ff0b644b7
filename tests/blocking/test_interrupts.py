"""Ctrl-C while a thread waits for a call."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import HANDLERS, SAFETY_NET_S, BlockingStub, serving_threads
from tests.call.service import message


class Stuck:
    """Handlers that never answer, and tell when they begin and are cancelled."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)

    async def __call__(self, requests: object, ctx: gyr.ServerContext) -> BytesValue:
        self.started.release()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.release()
        return message()


@contextmanager
def interrupted(when: threading.Semaphore) -> Iterator[None]:
    """Sends SIGINT to this process once the handler has begun."""

    # From outside, as a terminal does it: the main thread is told. The program runs before it is
    # needed, because a thread that is just forking may take the signal instead.
    script = f"echo ready; while read -r now; do kill -INT {os.getpid()}; done"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as sender:
        assert sender.stdout is not None
        assert sender.stdin is not None
        go = sender.stdin.fileno()
        assert sender.stdout.readline() == b"ready\n"

        raised = threading.Event()

        def interrupt() -> None:
            assert when.acquire(timeout=SAFETY_NET_S)
            # Again, as a person would: one that comes between the last look for signals and the
            # sleep is only seen after it, here as everywhere in CPython.
            for _ in range(10):
                os.write(go, b"now\n")
                if raised.wait(SAFETY_NET_S / 10):
                    return

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            yield
        raised.set()
        thread.join()


def connect(stub: BlockingStub) -> None:
    """First: callbacks of weak references, which swallow a KeyboardInterrupt, run at its end."""
    stub.client_stream([message()])


def other_thread_waits(stub: BlockingStub, stuck: Stuck) -> threading.Thread:
    """A thread that leads."""

    def wait() -> None:
        with pytest.raises(gyr.Cancelled):
            stub.unary(message())

    thread = threading.Thread(target=wait)
    thread.start()
    assert stuck.started.acquire(timeout=SAFETY_NET_S)
    return thread


def test_a_thread_that_waits_alone_is_interrupted() -> None:
    stuck = Stuck()
    with serving_threads(client_stream=HANDLERS["client_stream"], unary=stuck) as stub:
        connect(stub)
        with interrupted(stuck.started):
            stub.unary(message())
        assert stuck.cancelled.acquire(timeout=SAFETY_NET_S)
        assert stub.client_stream([message(b"goes on")]) == message(b"goes on")


def test_a_thread_that_waits_beside_another_is_interrupted() -> None:
    stuck = Stuck()
    with serving_threads(client_stream=HANDLERS["client_stream"], unary=stuck) as stub:
        connect(stub)
        other = other_thread_waits(stub, stuck)
        with interrupted(stuck.started):
            stub.unary(message())
        assert stuck.cancelled.acquire(timeout=SAFETY_NET_S)
        assert stub.client_stream([message(b"goes on")]) == message(b"goes on")
        stub.channel.close()
        other.join()


def test_when_the_thread_that_leads_is_interrupted_another_leads() -> None:
    stuck = Stuck()
    answered = threading.Event()
    asked = threading.Event()
    release = threading.Event()

    async def later(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        asked.set()
        await asyncio.get_running_loop().run_in_executor(None, release.wait, SAFETY_NET_S)
        yield request

    def call() -> None:
        if list(stub.server_stream(message(b"x"))) == [message(b"x")]:
            answered.set()

    with serving_threads(unary=stuck, server_stream=later) as stub:
        stub.channel.wait_ready(SAFETY_NET_S)
        follower = threading.Thread(target=call)
        leads_and_is_followed = threading.Semaphore(0)

        def begin() -> None:
            assert stuck.started.acquire(timeout=SAFETY_NET_S)
            follower.start()
            assert asked.wait(SAFETY_NET_S)
            leads_and_is_followed.release()

        starter = threading.Thread(target=begin)
        starter.start()
        with interrupted(leads_and_is_followed):
            stub.unary(message())
        starter.join()
        release.set()
        assert answered.wait(SAFETY_NET_S)
        follower.join()
