"""The server: addresses it listens on, connections it has, and its graceful end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import os
import signal
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

from .._core.connection import Connection
from ..policy.balancer import Timer
from ..policy.target import ListenAddress, parse_listen_address
from ..rpc.compression import COMPRESSIONS, Compression
from ..rpc.interceptor import Interceptor, check_interceptors
from ..rpc.keepalive import LEAST_SERVER_INTERVAL, Keepalive, check_keepalive
from ..rpc.limits import add_counts
from ..rpc.method import Service, ServiceDefinition
from ..rpc.options import (
    check_connection_options,
    check_int,
    check_period,
    check_seconds,
)
from ..rpc.stats import SERVERS, CallStats, ServerStats
from ..transport.certificates import ServerTLS, choose_server_settings
from ..transport.loops import freeze_heap, run_in_new_loop
from ..transport.network import SYSTEM_NETWORK, Listening, Network
from ..transport.timeouts import wait
from ..transport.tls import TlsError, TlsTooSlow
from ..transport.upkeep import Rules
from ..wire.grpc import GRPC
from .admission import PATIENCE_S, Admission
from .connection import CallLimit, ServerProtocol
from .entrance import Entrance
from .interception import ServerInterceptors
from .observer import tell, tell_starting
from .pool import WorkerPool
from .routes import collect_handlers, list_services, service_definitions

log = logging.getLogger("gyrfalcon.server")

# Bytes of a DATA or HEADERS frame that clients may send: what holds in HTTP/2 without a word
# (RFC 9113 4.2), and what test suites take for granted. Larger ones save 3 µs for 100 KB.
_FRAME_SIZE = 16384
# Threads beyond the processors, for handlers that wait; as many as ThreadPoolExecutor has.
_EXTRA_WORKERS = 4
_MOST_WORKERS = 32
# Of the loop, until what it has accepted is a connection of ours.
_ACCEPT_TURNS = 3
# Without a call for so long, a connection of a server that leaves is drained.
_IDLE_SECONDS = 1.0
# What TLS handshakes get that are under way when the server stops: who was accepted is served,
# where that takes no longer than a client with something to say.
_HANDSHAKE_SECONDS = 1.0
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
    - `max_concurrent_calls`: calls at once on all connections together; those beyond end with
      RESOURCE_EXHAUSTED (None: no limit);
    - `max_connections`: at once; those beyond are closed (None: what the limit on open files leaves
      room for);
    - `max_workers`: threads that run `def` handlers (None: processors + 4, at most 32);
    - `max_waiting_calls`: calls of `def` handlers that wait for a thread, in order; those beyond
      end with RESOURCE_EXHAUSTED at once (10,000);
    - `compression`: of the replies, where the client takes it ("gzip", "deflate", "zstd" or a
      Compression);
    - `access_log`: whether the logger `gyrfalcon.access` has a line for every call (False);
    - `interceptors`: what every call passes through, the outermost first (Interceptor);
    - `grace`: seconds that running calls get when the server stops (30);
    - `tls`: the certificate and key for TLS, a ServerTLS, or an ssl.SSLContext, which gets ALPN set
      to "h2" (None: plaintext);
    - `handshake_timeout`: seconds for a client to agree on TLS and send its first SETTINGS (20);
      `header_timeout`: for the rest of a header block that has begun (10); `stall_timeout`: for a
      client to take any of what waits for it before its call is cancelled (60). None: no limit;
    - `max_connection_age`: seconds after which a connection is to be replaced by a new one, give or
      take a tenth; `max_connection_age_grace`: that its calls then get (None: what they take);
      `max_connection_idle`: without a call after which it ends (None: never);
    - `keepalive`: seconds without a byte from a client before it is asked whether it is still
      there, or a Keepalive (7,200 and 20 for its answer; None: it is not asked);
    - `min_ping_interval`: seconds that a client leaves between two such questions of its own (300;
      0: it need not), `permit_pings_without_calls`: whether it may ask so often without calls
      (False: every two hours). The third that comes too soon ends its connection;
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
        max_concurrent_calls: int | None = None,
        max_connections: int | None = None,
        max_workers: int | None = None,
        max_waiting_calls: int = 10_000,
        compression: Compression | str | None = None,
        access_log: bool = False,
        interceptors: Iterable[Interceptor] = (),
        grace: float = 30.0,
        tls: ServerTLS | ssl.SSLContext | None = None,
        handshake_timeout: float | None = 20.0,
        header_timeout: float | None = 10.0,
        stall_timeout: float | None = 60.0,
        max_connection_age: float | None = None,
        max_connection_age_grace: float | None = None,
        max_connection_idle: float | None = None,
        keepalive: Keepalive | float | None = 7200.0,
        min_ping_interval: float = 300.0,
        permit_pings_without_calls: bool = False,
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
        self._handshake_timeout = check_period("handshake_timeout", handshake_timeout)
        asks = check_keepalive(keepalive, LEAST_SERVER_INTERVAL)
        rules = Rules(
            keepalive_interval=0.0 if asks is None else asks.interval,
            keepalive_timeout=0.0 if asks is None else asks.timeout,
            keepalive_without_calls=True,
            header_timeout=check_period("header_timeout", header_timeout),
            stall_timeout=check_period("stall_timeout", stall_timeout),
            min_ping_interval=check_seconds("min_ping_interval", min_ping_interval),
            permit_pings_without_calls=bool(permit_pings_without_calls),
            max_age=check_period("max_connection_age", max_connection_age),
            max_age_grace=-1.0
            if max_connection_age_grace in (None, math.inf)
            else check_seconds("max_connection_age_grace", max_connection_age_grace),
            max_idle=check_period("max_connection_idle", max_connection_idle),
        )
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
            "rules": rules,
            "calls": None
            if max_concurrent_calls is None
            else CallLimit(check_int("max_concurrent_calls", max_concurrent_calls, 0, 2**31 - 1)),
        }
        self._admission = Admission(
            None
            if max_connections is None
            else check_int("max_connections", max_connections, 1, 2**31 - 1),
            self._clock,
        )
        self._max_workers = (
            min((os.cpu_count() or 1) + _EXTRA_WORKERS, _MOST_WORKERS)
            if max_workers is None
            else check_int("max_workers", max_workers, 1, 2**31 - 1)
        )
        self._max_waiting_calls = check_int("max_waiting_calls", max_waiting_calls, 0, 2**31 - 1)
        self._grace = check_seconds("grace", grace)
        self._tls = choose_server_settings(tls)
        self._entrance: Entrance | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Listening] = []
        self._drivers = self._admission.drivers
        self._pool: WorkerPool | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._idle = asyncio.Event()
        self._created = time.time()
        self._past_calls = CallStats()
        # Those that were met on connections that are gone, and by the server itself.
        self._limits: dict[str, int] = {}
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
        return await self.listen_on(parse_listen_address(address), start=start)

    async def listen_on(self, where: ListenAddress, *, start: bool = True) -> int:
        """As `bind`, on an address that was parsed, or that another process has bound."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            tell_starting(self._services, self)
            self._loop = loop
            self._admission.open()
            if self._tls is not None:
                self._entrance = Entrance(loop, self._clock, self._tls, self._handshake_failed)
        elif self._loop is not loop:
            raise RuntimeError("this server runs on another event loop; make one for each loop")
        if self._stopping is not None:
            raise RuntimeError("this server was stopped; make a new one")
        context = contextvars.copy_context()
        listener = await self._network.listen(
            loop, lambda: self._accept(context), where, start=start
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
        await asyncio.shield(self.begin_stop(grace))

    def begin_stop(self, grace: float | None = None) -> asyncio.Task[None]:
        """As `stop`, without waiting: the task that ends with the server."""
        seconds = self._grace if grace is None else check_seconds("grace", grace)
        loop = asyncio.get_running_loop()
        if self._stopping is None:
            self._give_up = loop.create_future()
            self._stopping = loop.create_task(self._stop())
        self._hurry(self._clock.time() + seconds)
        return self._stopping

    async def leave(self, seconds: float) -> None:
        """Let another server take over: accept no more connections, drain those that had no call
        for a second, and stop after so many seconds, or with the last connection."""
        while self._listeners:
            self._listeners.pop().close()
        await self._meet_accepted()
        end = self._clock.time() + seconds
        while self._drivers and self._stopping is None and self._clock.time() < end:
            calls = {driver: driver.call_stats().started for driver in self._drivers}
            if await self._all_over(min(_IDLE_SECONDS, max(end - self._clock.time(), 0.0))):
                break
            for driver, started in calls.items():
                if not driver.running_calls and driver.call_stats().started == started:
                    driver.drain()
        await self.stop()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def run(self, *addresses: str, workers: int | None = None) -> None:
        """Serve on these addresses until SIGINT or SIGTERM, then drain and return.

        A second signal ends the running calls at once. Uses uvloop where it is installed. Call it
        from the main thread, without a running loop.

        The process is the server's: what was imported and made before is frozen (`gc.freeze`), so
        that the garbage collector stops the calls for what they have left, and not for the heap of
        the whole program. Reference counting goes on as ever.

        With `workers`, so many processes serve, each a fork of this one: what was made before
        (services, files, connections) each of them has a copy of, threads it has not. Open
        connections to databases in `ServerObserver.server_starting`, which runs in each. Workers
        that die are replaced; SIGHUP replaces all, without a call that fails. Raises
        `gyrfalcon.workers.WorkerError` when they cannot be kept running.
        """
        if not addresses:
            raise ValueError("Server.run needs an address to listen on, as in '127.0.0.1:50051'")
        if workers is not None:
            # Processes are rarely asked for, and cost 10 ms to import.
            from .worker import serve_with_workers

            serve_with_workers(self, self._network, addresses, workers)
            return
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
                freeze_heap()
                log.info("Ctrl-C or SIGTERM lets running calls end; a second one ends them")
                await self.wait_closed()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self._stopping is None:
            log.info("stopping: running calls have %g seconds", self._grace)
            self.begin_stop()
        else:
            log.info("stopping at once")
            self.begin_stop(0.0)

    # ------------------------------------------------------------------ what is served, and how

    @property
    def grace(self) -> float:
        """Seconds that running calls get when it stops, unless `stop` says otherwise."""
        return self._grace

    @property
    def services(self) -> tuple[ServiceDefinition, ...]:
        """The definitions of the services that are served, in their order."""
        return tuple(
            definition for service in self._services for definition in service_definitions(service)
        )

    def stats(self) -> ServerStats:
        """The figures of this server: calls, addresses, connections. Any thread."""
        # list() of a set is one step; the loop's thread may go on meanwhile.
        drivers = list(self._drivers)
        limits = dict(self._limits)
        for driver in drivers:
            add_counts(limits, driver.connection.limits)
        return ServerStats(
            id=self._id,
            created=self._created,
            calls=sum((driver.call_stats() for driver in drivers), self._past_calls),
            listeners=tuple(listener.stats() for listener in self._listeners),
            connections=tuple(sorted(driver.id for driver in drivers)),
            handshakes_failed=0 if self._entrance is None else self._entrance.failures,
            limits=limits,
        )

    # ------------------------------------------------------------------ connections

    def _accept(self, context: contextvars.Context) -> asyncio.BufferedProtocol:
        """The protocol of a connection that was accepted."""
        others = 0 if self._entrance is None else len(self._entrance)
        if not self._admission.has_room(others):
            add_counts(self._limits, {"max_connections": 1})
            if self._entrance is None or not self._entrance.drop_oldest(PATIENCE_S):
                return self._admission.refuse()
        timeout = self._handshake_timeout
        deadline = self._clock.time() + timeout if timeout else 0.0
        if self._entrance is None:
            return self._expected_driver(context, deadline)
        return self._entrance.admit(
            lambda: self._expected_driver(context, deadline), deadline or -1.0
        )

    def _handshake_failed(self, error: TlsError) -> None:
        """A connection ended before TLS was agreed on; it never had a driver."""
        if isinstance(error, TlsTooSlow):
            add_counts(self._limits, {"handshake_timeout": 1})

    def _expected_driver(
        self, context: contextvars.Context, handshake_deadline: float
    ) -> ServerProtocol:
        driver = self._make_driver(context, handshake_deadline)
        self._admission.expect(driver)
        return driver

    def _make_driver(
        self, context: contextvars.Context, handshake_deadline: float
    ) -> ServerProtocol:
        assert self._loop is not None
        return ServerProtocol(
            Connection(server=True, max_frame_size=_FRAME_SIZE, **self._connection_options),
            self._loop,
            self,
            self._handlers,
            GRPC,
            context,
            handshake_deadline=handshake_deadline,
            **self._driver_options,
        )

    def connection_made(self, driver: ServerProtocol) -> None:
        """A client connected (called by its driver)."""
        self._admission.made(driver)
        if self._stopping is not None:
            driver.drain()

    def handshake_done(self, driver: ServerProtocol) -> None:
        """Its client speaks HTTP/2 (called by the driver)."""
        self._admission.shaken(driver)

    def connection_over(self, driver: ServerProtocol) -> None:
        """A connection is gone and the handlers of its calls have returned
        (called by its driver, twice when its last calls end with it)."""
        if driver not in self._drivers:
            return
        self._admission.over(driver)
        self._past_calls += driver.call_stats()
        add_counts(self._limits, driver.connection.limits)
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
        await self._meet_accepted()
        if self._entrance is not None:
            await self._entrance.settle(_HANDSHAKE_SECONDS)
            self._entrance.close()
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

    async def _meet_accepted(self) -> None:
        """Return when what the closed listeners accepted are connections of ours."""
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)

    async def _end_calls(self) -> None:
        assert self._loop is not None or not self._drivers
        if await self._all_over(None, self._give_up):
            return
        for driver in list(self._drivers):
            driver.cancel_calls()
            driver.finish_drain()
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
