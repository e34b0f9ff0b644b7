"""What disturbs connections in memory: delays, silence, resets, refusals."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from ..rpc.options import check_int, check_seconds
from .clock import Clock
from .pipe import MemoryTransport, Pipe

T = TypeVar("T")


class Link(NamedTuple):
    """The two ends of a connection."""

    client: MemoryTransport
    server: MemoryTransport

    @property
    def pipes(self) -> tuple[Pipe, Pipe]:
        """Both directions."""
        return self.client.outgoing, self.server.outgoing

    @property
    def over(self) -> bool:
        """Whether both ends are gone."""
        return self.client.lost and self.server.lost


class Faults:
    """Disturbs the connections to one address of a MemoryNetwork.

    What is set holds for the connections that there are and for new ones, until `clear()`. Every
    method may be called from any thread, and has taken effect when it returns; what it sets going
    happens when the loop of the server turns.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._links: list[Link] = []
        self._delay = 0.0
        self._silent = False
        self._streams: float = 0
        self.refuses_connections = False
        """Whether new connections are refused."""

    # ------------------------------------------------------------------ for tests

    @property
    def connections(self) -> int:
        """How many connections there are, half-open ones included."""
        return self._in_loop(lambda: len(self._live()))

    def delay(self, seconds: float) -> None:
        """Let bytes take so long, in each direction, by the network's clock; 0: no longer.

        Bytes that are on their way already arrive when they would have.
        """
        check_seconds("seconds", seconds)
        self._in_loop(lambda: self._set(delay=seconds))

    def silence(self) -> None:
        """Let nothing arrive any more, and nobody know: as when the other machine lost its power.

        Connections can still be made, and stay silent. What was sent arrives after `clear()`.
        """
        self._in_loop(lambda: self._set(silent=True))

    def refuse_connections(self) -> None:
        """Refuse new connections; those that are there stay."""
        self.refuses_connections = True

    def refuse_streams(self, count: int | None = None) -> None:
        """Have the server refuse so many calls (None: all) with RST_STREAM(REFUSED_STREAM), as one
        does that has too much to do. No handler hears of them."""
        streams = float("inf") if count is None else check_int("count", count, 0)
        self._in_loop(lambda: self._set(streams=streams))

    def reset(self) -> int:
        """Break the connections that are there, for both ends; what is on its way is lost.

        Returns how many these were.
        """
        return self._in_loop(self._reset)

    def go_away(self, code: int = 0, data: bytes = b"") -> int:
        """Have the server send GOAWAY on the connections that are there; returns how many.

        Code 0 (NO_ERROR) is the graceful way, in two steps. Another HTTP/2 error code goes out
        at once, with `data` as its debug data: calls that the server took on go on.
        """
        check_int("code", code, 0, 2**32 - 1)
        return self._in_loop(lambda: self._go_away(code, data))

    def clear(self) -> None:
        """Undo it all; what was held up arrives."""
        self.refuses_connections = False
        self._in_loop(self._clear)

    # ------------------------------------------------------------------ for the network

    def _add(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        """Take a new connection on (loop of the server)."""
        self._loop = loop
        self._links = [*self._live(), link]
        self._apply(link)

    # ------------------------------------------------------------------ in the loop of the server

    def _live(self) -> list[Link]:
        self._links = [link for link in self._links if not link.over]
        return self._links

    def _set(
        self,
        *,
        delay: float | None = None,
        silent: bool | None = None,
        streams: float | None = None,
    ) -> None:
        if delay is not None:
            self._delay = delay
        if silent is not None:
            self._silent = silent
        if streams is not None:
            self._streams = streams
        for link in self._live():
            self._apply(link)

    def _apply(self, link: Link) -> None:
        for pipe in link.pipes:
            pipe.delay = self._delay
            pipe.blocked = self._silent
        if self._streams:
            _driver(link).refuse_streams(self._refuse_stream)

    def _refuse_stream(self) -> bool:
        """Whether the server refuses a call, which is counted."""
        refused = self._streams > 0
        self._streams -= refused
        return refused

    def _clear(self) -> None:
        self._set(delay=0.0, silent=False, streams=0)
        for link in self._live():
            for pipe in link.pipes:
                pipe.hurry()

    def _reset(self) -> int:
        broken = self._live()
        for link in broken:
            for end, pipe in zip(link, link.pipes, strict=True):
                pipe.discard()
                end.lose(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        return len(broken)

    def _go_away(self, code: int, data: bytes) -> int:
        told = [link for link in self._live() if not link.server.is_closing()]
        for link in told:
            if code == 0:
                _driver(link).drain()
            else:
                _driver(link).go_away(code, data)
        return len(told)

    def _in_loop(self, function: Callable[[], T]) -> T:
        """Do it in the thread of the connections, and wait for that."""
        loop = self._loop
        if loop is None or loop is _running_loop() or loop.is_closed():
            return function()
        done: Future[T] = Future()

        def call() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        loop.call_soon_threadsafe(call)
        return done.result()


def _driver(link: Link) -> Any:
    """The server's protocol, which speaks HTTP/2."""
    return link.server.get_protocol()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
