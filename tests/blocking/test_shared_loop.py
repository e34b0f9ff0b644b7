"""The loop of a blocking channel, where threads meet in it at an unlucky moment."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from gyrfalcon.transport.blocking import SharedLoop


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
