"""The loop of a blocking channel, where threads meet in it at an unlucky moment."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import threading
from typing import Any

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon.client.call import ClientDriver
from gyrfalcon.transport.blocking import SharedLoop
from tests.core.wires import END_HEADERS, END_STREAM, REQUEST, FrameType, frame


class NoJanitor:
    """Threads of the test do all there is to do."""

    def look_at(self, loop: SharedLoop, /) -> None:
        pass

    def wake(self) -> None:
        pass


def test_a_connection_that_is_given_up_while_it_is_polled_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread closes the channel between the leader's poll and what it does about it."""
    pipes: list[tuple[int, int]] = []

    def pipe() -> tuple[int, int]:
        pipes.append(real_pipe())
        return pipes[-1]

    class Interrupted(SharedLoop):
        def drain_pokes(self) -> None:
            """Comes right after the poll that a byte in the pipe has ended."""
            super().drain_pokes()
            waiting.close()
            seen.append("given up")

    async def connect() -> None:
        waiting.send(None)
        os.write(pipes[0][1], b"!")
        over = loop.create_future()
        loop.call_later(0, over.set_result, None)
        await over

    real_pipe = os.pipe
    monkeypatch.setattr(os, "pipe", pipe)
    seen: list[str] = []
    loop = Interrupted(NoJanitor())
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as connecting:
        connecting.setblocking(False)
        connecting.connect_ex(listening.getsockname())
        waiting: Any = loop.wait_connected(connecting)
        loop.run(connect(), timeout=30)
        assert seen == ["given up"]
    loop.close()


ANSWERS = 1500
# RFC 9113 6.5.2: SETTINGS_MAX_CONCURRENT_STREAMS
MANY_STREAMS = frame(FrameType.SETTINGS, 0, 0, struct.pack(">HI", 3, 2 * ANSWERS))
# RFC 7541 appendix A: ":status: 200", and an empty "accept-charset" of one byte, many times.
LONG_ANSWER = b"\x88" + b"\x8f" * 140
LONG_READ = b"".join(
    frame(FrameType.HEADERS, END_HEADERS | END_STREAM, number, LONG_ANSWER)
    for number in range(1, 2 * ANSWERS, 2)
)


class Silent(asyncio.Transport):
    """Nobody is at its other end."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return False


class Owner:
    """Hears of a connection and does nothing."""

    def handshake_done(self, driver: ClientDriver) -> None:
        pass


def read(driver: ClientDriver, data: bytes) -> None:
    driver.get_buffer(-1)[: len(data)] = data
    driver.buffer_updated(len(data))


def test_other_threads_run_while_much_is_read() -> None:
    """Thousands of answers in one read, over 5 ms of work without any Python code."""
    loop: Any = SharedLoop(NoJanitor())
    owner: Any = Owner()
    gate = threading.Lock()
    ran: list[bool] = []

    def wait() -> None:
        with gate:
            ran.append(True)

    before = after = 0
    gate.acquire()
    thread = threading.Thread(target=wait)
    thread.start()
    interval = sys.getswitchinterval()
    # Who waits for the GIL gets it where it is given up, and not because of the time.
    sys.setswitchinterval(1000)
    try:
        gate.release()
        # The system may take its time to wake the thread.
        for _ in range(100):
            driver = ClientDriver(Connection(server=False), loop, owner)
            driver.connection_made(Silent())
            read(driver, MANY_STREAMS)
            for _ in range(ANSWERS):
                driver.connection.open(REQUEST)
            driver.flush_now()
            before = len(ran)
            read(driver, LONG_READ)
            after = len(ran)
            if after:
                break
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert (before, after) == (0, 1)
    loop.close()
