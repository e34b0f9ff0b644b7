"""A raw TCP echo: the floor under every latency, on asyncio, uvloop or blocking sockets."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, cast

from benchmarks.peers.program import announce_and_wait, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class EchoServer(asyncio.Protocol):
    """Writes back what it reads, at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoClient(asyncio.Protocol):
    """Sends the next request from the callback that saw the answer: no task is woken between."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.received = 0
        self.left = 0
        self.began = 0
        self.times: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def bounce(self, count: int) -> Awaitable[list[int]]:
        """Nanoseconds of each of `count` round trips."""
        self.done = asyncio.get_running_loop().create_future()
        self.left = count
        self.times = []
        self.send()
        return self.done

    def send(self) -> None:
        self.began = time.perf_counter_ns()
        self.transport.write(self.payload)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received < len(self.payload):
            return
        self.times.append(time.perf_counter_ns() - self.began)
        self.received = 0
        self.left -= 1
        if self.left:
            self.send()
        else:
            self.done.set_result(self.times)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.left:
            self.done.set_exception(exc or ConnectionResetError("the echo server went away"))


@contextlib.asynccontextmanager
async def connection(
    port: int, payload: bytes
) -> AsyncIterator[Callable[[int], Awaitable[list[int]]]]:
    """A function that makes round trips on one connection, on the running loop."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: EchoClient(payload), "127.0.0.1", port)
    try:
        yield client.bounce
    finally:
        transport.close()


def bounce_blocking(connected: socket.socket, payload: bytes, count: int) -> list[int]:
    """Nanoseconds of each of `count` round trips on a blocking socket."""
    times: list[int] = []
    for _ in range(count):
        began = time.perf_counter_ns()
        connected.sendall(payload)
        left = len(payload)
        while left:
            left -= len(connected.recv(left))
        times.append(time.perf_counter_ns() - began)
    return times


async def serve() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(EchoServer, "127.0.0.1", 0) as server:
        await announce_and_wait(server.sockets[0].getsockname()[1])


def serve_blocking() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        sys.stdin.read()


def accept(listener: socket.socket) -> None:
    while True:
        connected, _ = listener.accept()
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connected,), daemon=True).start()


def answer(connected: socket.socket) -> None:
    with connected:
        while data := connected.recv(2**16):
            connected.sendall(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "blocking"), default="asyncio")
    loop = parser.parse_args().loop
    if loop == "blocking":
        serve_blocking()
    else:
        run(serve(), loop)


if __name__ == "__main__":
    main()
