"""The server for programs without an event loop: it runs on a loop in a thread of its own."""

from __future__ import annotations

import ssl
import sys
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Self, TypedDict, Unpack

from ..rpc.compression import Compression
from ..rpc.interceptor import Interceptor
from ..rpc.keepalive import Keepalive
from ..rpc.method import Service, ServiceDefinition
from ..rpc.options import check_seconds
from ..rpc.stats import ServerStats
from ..server.server import Server as AsyncServer
from ..transport.certificates import ServerTLS
from ..transport.loops import LoopThread
from ..transport.network import Network


class ServerOptions(TypedDict, total=False):
    """The options of `gyr.Server`, which has their meaning, units and defaults."""

    max_receive_bytes: int
    max_send_bytes: int | None
    max_metadata_bytes: int
    max_concurrent_streams: int
    max_concurrent_calls: int | None
    max_connections: int | None
    max_workers: int | None
    max_waiting_calls: int
    compression: Compression | str | None
    interceptors: Iterable[Interceptor]
    access_log: bool
    grace: float
    tls: ServerTLS | ssl.SSLContext | None
    handshake_timeout: float | None
    header_timeout: float | None
    stall_timeout: float | None
    max_connection_age: float | None
    max_connection_age_grace: float | None
    max_connection_idle: float | None
    keepalive: Keepalive | float | None
    min_ping_interval: float
    permit_pings_without_calls: bool
    stream_window: int
    connection_window: int
    max_unread_bytes: int
    network: Network | None


class Server:
    """A `gyr.Server` on an event loop in a thread of its own (uvloop's where it is installed).

    Services, handlers and options are those of `gyr.Server`: `def` handlers run in its worker
    threads, `async def` handlers on the loop. Every method may be called from any thread but the
    loop's own (RuntimeError there). A server serves once.

    In a `with` block it is started on entry and stopped on exit. The loop's thread is a daemon:
    a program that ends without stopping its server drops the calls that run.

    After a fork the child has no server: the loop's thread stays behind in the parent.
    """

    def __init__(self, services: Iterable[Service], **options: Unpack[ServerOptions]) -> None:
        self._server = AsyncServer(services, **options)
        self._thread = LoopThread("gyrfalcon-server")
        self._started = False
        self._stopped = False
        self._at_end: Callable[[], None] = _nothing

    def listen(self, address: str) -> int:
        """Listen on one more address and return its port (0 for a unix socket).

        Before `start` the address is taken and connections wait; after it they are served at once.
        Addresses and errors are those of `gyr.Server.listen`.
        """
        self._open()
        return self._thread.run(self._server.bind(address, start=self._started))

    def start(self) -> None:
        """Serve; returns at once. No effect when it was started. RuntimeError after `stop`."""
        self._open()
        self._started = True
        self._thread.run(self._server.begin())

    def _open(self) -> None:
        """Have the loop run."""
        if self._stopped:
            raise RuntimeError("this server was stopped; make a new one")
        self._thread.start()

    def stop(self, grace: float | None = None) -> None:
        """Stop gracefully, and return when the server and its thread have ended.

        No new connections and calls are taken on, running calls go on for up to `grace` seconds
        (default: the server's), what is left ends with CANCELLED. Stopping again waits for the
        same end; a shorter grace then counts from now. A `def` handler that stops its own server
        waits for itself, until the grace is over.
        """
        if grace is not None:
            check_seconds("grace", grace)
        if self._thread.here:
            raise RuntimeError(
                "stop() waits for the loop's thread, and this is that thread: use "
                "threading.Thread(target=server.stop).start()"
            )
        self._stopped = True
        if not self._thread.started:
            # What was never opened ends here.
            self._thread.stop()
            self._at_end()
            return
        ending = self._begin_end(grace)
        self._thread.join()
        if ending is not None and ending.done() and not ending.cancelled():
            ending.result()

    def _begin_end(self, grace: float | None) -> Future[None] | None:
        """Let the server stop and its loop end with it; None when it has ended."""
        try:
            return self._thread.submit(_end(self._server, self._thread, self._at_end, grace))
        except RuntimeError:
            return None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server was stopped by somebody else, for at most `timeout` seconds.

        Returns whether it has stopped. RuntimeError for a server that was not started.
        """
        if not self._thread.started and not self._stopped:
            raise RuntimeError("this server was not started: wait() would never return")
        if self._thread.here:
            raise RuntimeError("wait() waits for the loop's thread, and this is that thread")
        return self._thread.join(None if timeout is None else check_seconds("timeout", timeout))

    @property
    def services(self) -> tuple[ServiceDefinition, ...]:
        """The definitions of the services that are served, in their order."""
        return self._server.services

    def stats(self) -> ServerStats:
        """The figures of this server: calls, addresses, connections."""
        return self._server.stats()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(0)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __del__(self) -> None:
        thread = getattr(self, "_thread", None)
        if thread is None or not thread.started or self._stopped or sys.is_finalizing():
            return
        if self._started:
            warnings.warn(
                f"{self!r} was not stopped: use it in a `with` block or call stop()",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )
        self._begin_end(0)

    def __repr__(self) -> str:
        return f"<blocking.{type(self).__name__} {self._server!r}>"


# Not methods: the loop's thread must not keep a server alive that was forgotten.


async def _end(
    server: AsyncServer, thread: LoopThread, at_end: Callable[[], None], grace: float | None
) -> None:
    try:
        await server.stop(grace)
    finally:
        at_end()
        thread.end()


def _nothing() -> None: ...
