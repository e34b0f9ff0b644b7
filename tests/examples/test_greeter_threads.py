"""Greeter without asyncio: the server of a completion queue, and the one with callbacks."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
import pytest

import gyrfalcon as gyr
from examples.greeter import callback_server, queue_server
from examples.greeter.client import greet
from examples.greeter.proto.helloworld_gyr import GreeterService, GreeterStub
from examples.greeter.proto.helloworld_pb2 import HelloReply, HelloRequest

ROOT = Path(__file__).parents[2]
# A program that takes this long to end has failed.
SAFETY_NET_S = 30.0


@contextmanager
def queues() -> Iterator[int]:
    server = gyr.blocking.QueueServer([GreeterService])
    with queue_server.answering(server), server:
        yield server.listen("127.0.0.1:0")


@contextmanager
def callbacks() -> Iterator[int]:
    with (
        ThreadPoolExecutor(2) as executor,
        gyr.blocking.Server([callback_server.Greeter(executor)]) as server,
    ):
        yield server.listen("127.0.0.1:0")


Serving = Callable[[], AbstractContextManager[int]]
both = pytest.mark.parametrize("serving", [queues, callbacks])


@pytest.mark.anyio
@both
async def test_everybody_is_greeted_by_name(serving: Serving) -> None:
    names = ["world", "", "Grüezi 🏔", *(str(number) for number in range(200))]
    with serving() as port:
        async with gyr.Channel(f"127.0.0.1:{port}", default_timeout=60.0) as channel:
            greeter = GreeterStub(channel)
            calls = [greeter.say_hello(HelloRequest(name=name)) for name in names]
            assert [(await call).message for call in calls] == [f"Hello {name}" for name in names]


@both
def test_stock_grpcio_is_greeted(serving: Serving) -> None:
    with serving() as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        say_hello = channel.unary_unary(
            "/helloworld.Greeter/SayHello",
            request_serializer=HelloRequest.SerializeToString,
            response_deserializer=HelloReply.FromString,
        )
        futures = [say_hello.future(HelloRequest(name=str(number))) for number in range(200)]
        replies = [future.result(timeout=60.0).message for future in futures]
        assert replies == [f"Hello {number}" for number in range(200)]


async def greet_world(address: str) -> str:
    async with gyr.Channel(address, default_timeout=60.0) as channel:
        return await greet(GreeterStub(channel), "world")


@pytest.mark.parametrize("name", ["queue_server", "callback_server"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_serves_until_a_signal(name: str, number: int) -> None:
    program = [sys.executable, "-W", "error", "-m", f"examples.greeter.{name}"]
    with subprocess.Popen(
        [*program, "--listen", "127.0.0.1:0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("listening on ").strip()
            assert asyncio.run(greet_world(address)) == "Hello world"
            process.send_signal(number)
            output, _ = process.communicate(timeout=SAFETY_NET_S)
        except BaseException:
            process.kill()
            raise
    assert (output, process.returncode) == ("", 0)


@pytest.mark.parametrize("name", ["queue_server", "callback_server"])
def test_an_address_that_cannot_be_had_is_said_in_one_line(name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"examples.greeter.{name}", "--listen", "nonsense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SAFETY_NET_S,
    )
    assert (ran.stdout, ran.returncode) == ("", 1)
    assert ran.stderr.count("\n") == 1
    assert "nonsense" in ran.stderr
