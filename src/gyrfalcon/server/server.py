"""The server: addresses it listens on, connections it has, and its graceful end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .._core.connection import Connection
from ..policy.balancer import Timer
from ..policy.target import parse_listen_address
from ..rpc.compression import COMPRESSIONS, Compression
from ..rpc.interceptor import Interceptor, check_interceptors
from ..rpc.method import Service, ServiceDefinition
from ..rpc.options import check_connection_options, check_int, check_seconds
from ..rpc.stats import SERVERS, CallStats, ServerStats
from ..transport.loops import run_in_new_loop
from ..transport.network import SYSTEM_NETWORK, Listening, Network
from ..transport.timeouts import wait
from ..wire.grpc import GRPC
from .connection import ServerProtocol
from .interception import ServerInterceptors
from .observer import tell, tell_starting
from .pool import WorkerPool
from .routes import collect_handlers, list_services, service_definitions

log = logging.getLogger("gyrfalcon.server")

# RFC 9113 6.8 leaves the wait between the two GOAWAYs open; gRPC peers answer a PING at once.
_DRAIN_PING_SECONDS = 10.0
# Bytes of a DATA or HEADERS frame that clients may send: what holds in HTTP/2 without a word
# (RFC 9113 4.2), and what test suites take for granted. Larger ones save 3 µs for 100 KB.
_FRAME_SIZE = 16384
# Threads beyond the processors, for handlers that wait; as many as ThreadPoolExecutor has.
_EXTRA_WORKERS = 4
_MOST_WORKERS = 32
# What handlers get to end after they were cancelled, before their connections are dropped.
_CANCEL_SECONDS = 1.0


class Server:
    """A gRPC server on the running event loop.

    `services` are instances of classes that derive from generated `...Service` classes.

    Options, with their units:
    - `max_receive_bytes`: a request message, uncompressed, at most (4 MiB);
    - `max_send_bytes`: a reply message at most (None: no limit);
    - `max_metadata_bytes`: the header list of a request at most (16 KiB);
    - `max_concurrent_streams`: calls at once on one connection (1,000);
    - `max_workers`: threads that run `def` handlers (None: processors + 4, at most 32);
    - `max_waiting_calls`: calls of `def` handlers that wait for a thread, in order; those beyond
      end with RESOURCE_EXHAUSTED at once (10,000);
    - `compression`: of the replies, where the client takes it ("gzip", "deflate", "zstd" or a
      Compression);
    - `access_log`: whether the logger `gyrfalcon.access` has a line for every call (False);
    - `interceptors`: what every call passes through, the outermost first (Interceptor);
    - `grace`: seconds that running calls get when the server stops (30);
    - `stream_window`, `connection_window`: bytes that a client may send ahead of the handlers
      (1 MiB, 16 MiB); `max_unread_bytes`: whole messages held for the handlers of one connection
      before that connection's window stays shut (64 MiB);
    - `network`: what is listened on and tells the time (None: the system's).

    Use it as an async context manager in a program of your own, or `run()` it. A server serves
    once, on one loop; all but `run` belong to that loop's thread. Raises TypeError for what is no
    service, ValueError for services that clash and for options out of range.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        max_receive_bytes: int = 4 * 2**20,
        max_send_bytes: int | None = None,
        max_metadata_bytes: int = 16 * 2**10,
        max_concurrent_streams: int = 1000,
        max_workers: int | None = None,
        max_waiting_calls: int = 10_000,
        compression: Compression | str | None = None,
        access_log: bool = False,
        interceptors: Iterable[Interceptor] = (),
        grace: float = 30.0,
        stream_window: int = 2**20,
        connection_window: int = 16 * 2**20,
        max_unread_bytes: int = 64 * 2**20,
        network: Network | None = None,
    ) -> None:
        self._network = SYSTEM_NETWORK if network is None else network
        self._clock = self._network.clock
        self._services = list_services(services)
        self._handlers = collect_handlers(self._services)
        self._connection_options: dict[str, Any] = check_connection_options(
            max_receive_bytes=max_receive_bytes,
            max_metadata_bytes=max_metadata_bytes,
            stream_window=stream_window,
            connection_window=connection_window,
            max_unread_bytes=max_unread_bytes,
        )
        streams = check_int("max_concurrent_streams", max_concurrent_streams, 1, 2**31 - 1)
        self._connection_options["max_concurrent_streams"] = streams
        chosen = COMPRESSIONS.choose(compression)
        found = check_interceptors(interceptors)
        self._driver_options: dict[str, Any] = {
            "max_running": streams,
            "max_send_bytes": -1
            if max_send_bytes is None
            else check_int("max_send_bytes", max_send_bytes, 0),
            "compression": None if chosen.name == "identity" else chosen,
            "clock": self._clock,
            "access_log": bool(access_log),
            "interceptors": ServerInterceptors(found) if found else None,
        }
        self._max_workers = (
            min((os.cpu_count() or 1) + _EXTRA_WORKERS, _MOST_WORKERS)
            if max_workers is None
            else check_int("max_workers", max_workers, 1, 2**31 - 1)
        )
        self._max_waiting_calls = check_int("max_waiting_calls", max_waiting_calls, 0, 2**31 - 1)
        self._grace = check_seconds("grace", grace)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Listening] = []
        self._drivers: set[ServerProtocol] = set()
        self._pool: WorkerPool | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._idle = asyncio.Event()
        self._created = time.time()
        self._past_calls = CallStats()
        self._id = SERVERS.add(self)

    # ------------------------------------------------------------------ serving

    async def listen(self, address: str) -> int:
        """Listen on one more address and return its port (0 for a unix socket).

        `host:port`, `[::1]:port`, `unix:path`; port 0 takes a free one. Raises OSError that names
        the address when it cannot be had, ValueError when it is none.
        """
        return await self.bind(address, start=True)

    async def bind(self, address: str, *, start: bool) -> int:
        """As `listen`; without `start` the address is taken, and served once `begin` was awaited
        (for servers that a thread runs)."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            tell_starting(self._services, self)
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("this server runs on another event loop; make one for each loop")
        if self._stopping is not None:
            raise RuntimeError("this server was stopped; make a new one")
        where = parse_listen_address(address)
        context = contextvars.copy_context()
        listener = await self._network.listen(
            loop, lambda: self._make_driver(context), where, start=start
        )
        self._listeners.append(listener)
        log.info("listening on %s", listener.address)
        return listener.port

    async def begin(self) -> None:
        """Serve the addresses that `bind` took."""
        for listener in self._listeners:
            await listener.start()

    async def wait_closed(self) -> None:
        """Wait until the server has stopped."""
        await self._closed.wait()

    async def stop(self, grace: float | None = None) -> None:
        """Stop gracefully, and return when that is done.

        No new connections and calls are taken on, running calls go on for up to `grace` seconds
        (default: the server's), what is left ends with CANCELLED. Stopping again waits for the
        same end; a shorter grace then counts from now.
        """
        seconds = self._grace if grace is None else check_seconds("grace", grace)
        loop = asyncio.get_running_loop()
        if self._stopping is None:
            self._give_up = loop.create_future()
            self._stopping = loop.create_task(self._stop())
        self._hurry(self._clock.time() + seconds)
        await asyncio.shield(self._stopping)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def run(self, *addresses: str) -> None:
        """Serve on these addresses until SIGINT or SIGTERM, then drain and return.

        A second signal ends the running calls at once. Uses uvloop where it is installed. Call it
        from the main thread, without a running loop.
        """
        if not addresses:
            raise ValueError("Server.run needs an address to listen on, as in '127.0.0.1:50051'")
        run_in_new_loop(self._serve(addresses))

    async def _serve(self, addresses: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self._signalled)
        try:
            async with self:
                for address in addresses:
                    await self.listen(address)
                await self.wait_closed()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        loop = asyncio.get_running_loop()
        if self._stopping is None:
            log.info("stopping: running calls have %g seconds", self._grace)
            self._give_up = loop.create_future()
            self._stopping = loop.create_task(self._stop())
            self._hurry(self._clock.time() + self._grace)
        else:
            log.info("stopping at once")
            self._hurry(self._clock.time())

    # ------------------------------------------------------------------ what is served, and how

    @property
    def services(self) -> tuple[ServiceDefinition, ...]:
        """The definitions of the services that are served, in their order."""
        return tuple(
            definition
            for service in self._services
            for definition, _ in service_definitions(service)
        )

    def stats(self) -> ServerStats:
        """The figures of this server: calls, addresses, connections. Any thread."""
        # list() of a set is one step; the loop's thread may go on meanwhile.
        drivers = list(self._drivers)
        return ServerStats(
            id=self._id,
            created=self._created,
            calls=sum((driver.call_stats() for driver in drivers), self._past_calls),
            listeners=tuple(listener.stats() for listener in self._listeners),
            connections=tuple(sorted(driver.id for driver in drivers)),
        )

    # ------------------------------------------------------------------ connections

    def _make_driver(self, context: contextvars.Context) -> ServerProtocol:
        assert self._loop is not None
        return ServerProtocol(
            Connection(server=True, max_frame_size=_FRAME_SIZE, **self._connection_options),
            self._loop,
            self,
            self._handlers,
            GRPC,
            context,
            **self._driver_options,
        )

    def connection_made(self, driver: ServerProtocol) -> None:
        """A client connected (called by its driver)."""
        self._drivers.add(driver)
        if self._stopping is not None:
            driver.drain()

    def connection_over(self, driver: ServerProtocol) -> None:
        """A connection is gone and the handlers of its calls have returned
        (called by its driver)."""
        self._drivers.discard(driver)
        self._past_calls += driver.call_stats()
        if not self._drivers:
            self._idle.set()

    def worker_pool(self) -> WorkerPool:
        """The threads for `def` handlers; they are started when first needed."""
        assert self._loop is not None
        if self._pool is None:
            self._pool = WorkerPool(self._loop, self._max_workers, self._max_waiting_calls)
        return self._pool

    # ------------------------------------------------------------------ stopping

    _give_up: asyncio.Future[None]
    _give_up_timer: Timer | None = None
    _give_up_at = 0.0

    def _hurry(self, when: float) -> None:
        """Let the grace end at `when` (by the clock), if that is sooner than it would."""
        if self._give_up.done() or self._closed.is_set():
            return
        if self._give_up_timer is not None:
            if self._give_up_at <= when:
                return
            self._give_up_timer.cancel()
        loop = self._give_up.get_loop()
        self._give_up_at = when
        self._give_up_timer = self._clock.call_at(loop, when, self._end_grace)

    def _end_grace(self) -> None:
        if not self._give_up.done():
            self._give_up.set_result(None)

    async def _stop(self) -> None:
        if self._loop is not None:
            tell(self._services, self, "server_draining")
        for listener in self._listeners:
            listener.close()
        for driver in list(self._drivers):
            driver.drain()
        try:
            await self._end_calls()
        finally:
            if self._give_up_timer is not None:
                self._give_up_timer.cancel()
            if self._pool is not None:
                self._pool.close(wait=not self._drivers)
            SERVERS.remove(self._id)
            if self._loop is not None:
                tell(self._services, self, "server_stopped")
            self._closed.set()

    async def _end_calls(self) -> None:
        assert self._loop is not None or not self._drivers
        if await self._all_over(_DRAIN_PING_SECONDS, self._give_up):
            return
        for driver in list(self._drivers):
            driver.finish_drain()
        if await self._all_over(None, self._give_up):
            return
        for driver in list(self._drivers):
            driver.cancel_calls()
        if await self._all_over(_CANCEL_SECONDS):
            return
        for driver in list(self._drivers):
            driver.abort()
        if not await self._all_over(_CANCEL_SECONDS):
            left = sum(driver.running_calls for driver in self._drivers)
            log.warning("stopped while %d handlers still run: they do not end when cancelled", left)

    async def _all_over(
        self, seconds: float | None, give_up: asyncio.Future[None] | None = None
    ) -> bool:
        """Whether the last connection ends within that time and before the grace does."""
        if not self._drivers:
            return True
        self._idle.clear()
        idle = asyncio.ensure_future(self._idle.wait())
        awaited: set[asyncio.Future[Any]] = {idle} if give_up is None else {idle, give_up}
        try:
            await wait(self._clock, awaited, seconds, asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
        return not self._drivers

    def __repr__(self) -> str:
        addresses = ", ".join(listener.address for listener in self._listeners) or "no address"
        return f"<Server on {addresses}, {len(self._drivers)} connections>"
