"""A subchannel: the connection to one address, with its backoff; more of them when asked to."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from .._core.connection import Connection
from ..policy.backoff import ConnectionBackoff
from ..policy.balancer import Timer
from ..policy.connectivity import ConnectivityState
from ..policy.target import Address
from ..rpc.limits import add_counts
from ..rpc.stats import SUBCHANNELS, CallStats, SubchannelStats
from ..rpc.status import Status, StatusCode
from ..transport.certificates import TlsSettings
from ..transport.network import Network
from ..transport.timeouts import timeout_at, wait
from ..transport.tls import TlsProtocol
from ..transport.upkeep import Rules
from .call import ClientDriver

# A call that finds every connection full waits so long for one more before it queues up.
_PATIENCE_S = 0.25

Changed = Callable[["Subchannel", ConnectivityState, Status | None], None]


class ClientProtocol(ClientDriver, asyncio.BufferedProtocol):
    """A ClientDriver as asyncio wants protocols to be."""

    __slots__ = ()

    owner: Subchannel


class Subchannel:
    """As `policy.balancer.Subchannel` describes it; `changed` hears of its states.

    It belongs to one loop. `tls`: the settings, and the name that the server's certificate has to
    be good for. `rules` is asked what a new connection keeps to, `too_many_pings` told of a
    connection whose server says so. It has up to `most` connections: one more is made when those
    that are there have as many calls as the server takes, `settled` is called when that was done
    or failed. `forget` is called when it is shut down and its last connection gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        connection_options: Mapping[str, Any],
        connect_timeout: float,
        network: Network,
        tls: tuple[TlsSettings, str] | None,
        rules: Callable[[], Rules],
        too_many_pings: Callable[[float], object],
        most: int,
        settled: Callable[[], object],
        changed: Changed,
        forget: Callable[[Subchannel], None],
    ) -> None:
        self.address = address
        self.driver: ClientProtocol | None = None
        self._loop = loop
        self._network = network
        self._clock = network.clock
        self._tls = tls
        self._connection_options = connection_options
        self._rules = rules
        self._too_many_pings = too_many_pings
        self._most = most
        self._settled = settled
        # Those that take calls besides `driver`, and the attempt at one more.
        self._spares: list[ClientProtocol] = []
        self._growing: asyncio.Task[None] | None = None
        self._grow_until = 0.0
        self._grow_again_at = 0.0
        self._changed = changed
        self._forget = forget
        self._backoff = ConnectionBackoff(connect_timeout=connect_timeout)
        self._state = ConnectivityState.IDLE
        self._attempt: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._timer: Timer | None = None
        self._connections: dict[ClientProtocol, asyncio.Future[None]] = {}
        self._handshakes: dict[ClientProtocol, asyncio.Future[None]] = {}
        self._step = ""
        self._shut_down = False
        self._forgotten = False
        self._created = time.time()
        self._past_calls = CallStats()
        # Those that were met on connections that are gone, and while connecting.
        self._limits: dict[str, int] = {}
        self.id = SUBCHANNELS.add(self)

    # ------------------------------------------------------------------ for the balancer

    def connect(self) -> None:
        """Start an attempt. Does nothing unless IDLE."""
        if self._state is not ConnectivityState.IDLE or self._shut_down:
            return
        attempt = self._backoff.attempt(self._clock.time(), random.random())
        self._retry_at = attempt.retry_at
        self._set_state(ConnectivityState.CONNECTING)
        self._attempt = self._loop.create_task(self._connect(attempt.deadline))

    def shutdown(self) -> None:
        """End it: calls on it finish, nothing new begins."""
        if self._shut_down:
            return
        self._shut_down = True
        self._state = ConnectivityState.SHUTDOWN
        if self._timer is not None:
            self._timer.cancel()
        for attempt in self._attempts():
            attempt.cancel()
        self.driver = None
        self._spares.clear()
        for driver in list(self._connections):
            driver.retire()
        self._forget_if_over()

    async def close(self, grace: float) -> None:
        """Wait for the calls to finish for up to `grace` seconds, then drop the connections."""
        self.shutdown()
        if self._attempts():
            await asyncio.wait(self._attempts())
        if self._connections and grace > 0:
            await wait(self._clock, self._connections.values(), timeout=grace)
        for driver in list(self._connections):
            driver.cancel_calls()
        if self._connections:
            await wait(self._clock, self._connections.values(), timeout=1.0)
        for driver in list(self._connections):
            driver.abort()
        if self._connections:
            await asyncio.wait(list(self._connections.values()))

    # ------------------------------------------------------------------ for calls

    def find_driver(self) -> ClientProtocol | None:
        """The connection for one more call; None: wait until one is made, or is lost."""
        driver = self.driver
        if driver is None or (driver.takes_calls and (self._most == 1 or driver.has_room)):
            return driver
        usable = [one for one in (driver, *self._spares) if one.takes_calls]
        for one in usable:
            if one.has_room:
                return one
        now = self._clock.time()
        if self._growing is None and len(usable) < self._most and now >= self._grow_again_at:
            self._grow_until = now + _PATIENCE_S
            self._growing = self._loop.create_task(self._grow())
        if usable and (self._growing is None or now >= self._grow_until):
            return min(usable, key=lambda one: one.connection.open_streams)
        return None

    async def _grow(self) -> None:
        """Make one more connection."""
        patience = self._clock.call_at(self._loop, self._grow_until, self._settled)
        connect_timeout = self._backoff.connect_timeout
        try:
            async with timeout_at(self._clock, self._clock.time() + connect_timeout):
                driver = await self._establish()
            if driver.takes_calls:
                self._spares.append(driver)
        except OSError:
            # TimeoutError is one. Those that are there have to do for a while.
            self._grow_again_at = self._clock.time() + self._backoff.initial
        finally:
            patience.cancel()
            self._growing = None
            self._forget_if_over()
        if self.driver is not None:
            self._settled()
        elif self._spares and not self._shut_down and self._state is ConnectivityState.IDLE:
            # What it was to help was lost meanwhile.
            self.driver = self._spares.pop(0)
            self._set_state(ConnectivityState.READY)

    # ------------------------------------------------------------------ for its connections

    def told_to_calm(self, driver: ClientProtocol) -> None:
        """The server says `too_many_pings`."""
        self._too_many_pings(driver.rules.keepalive_interval)

    def handshake_done(self, driver: ClientProtocol) -> None:
        """The server's SETTINGS came."""
        handshake = self._handshakes.get(driver)
        if handshake is not None and not handshake.done():
            handshake.set_result(None)

    def connection_draining(self, driver: ClientProtocol) -> None:
        """The server takes no new calls on this connection."""
        driver.retire()
        self._leave(driver)

    def _leave(self, driver: ClientProtocol) -> None:
        """Give it no more calls."""
        if driver in self._spares:
            self._spares.remove(driver)
        elif driver is self.driver:
            self.driver = next((one for one in self._spares if one.takes_calls), None)
            if self.driver is not None:
                self._spares.remove(self.driver)
            elif not self._shut_down:
                self._set_state(ConnectivityState.IDLE)

    def connection_lost(self, driver: ClientProtocol, error: Exception | None) -> None:
        """The connection is gone."""
        self._past_calls += driver.call_stats()
        add_counts(self._limits, driver.connection.limits)
        closed = self._connections.pop(driver, None)
        if closed is not None and not closed.done():
            closed.set_result(None)
        handshake = self._handshakes.get(driver)
        if handshake is not None and not handshake.done():
            reason = str(error) if error else "the server closed the connection"
            if driver.speaks_tls:
                reason = "the server speaks TLS: give the channel tls=gyrfalcon.ClientTLS(...)"
            handshake.set_exception(ConnectionError(reason))
        self._leave(driver)
        self._forget_if_over()

    # ------------------------------------------------------------------ one attempt

    async def _connect(self, deadline: float) -> None:
        started = self._clock.time()
        try:
            async with timeout_at(self._clock, deadline):
                driver = await self._establish()
        except TimeoutError:
            self._attempt = None
            add_counts(self._limits, {"connect_timeout": 1})
            self._fail(f"{self._step} took longer than {deadline - started:.3g} seconds")
            return
        except OSError as error:
            self._attempt = None
            # asyncio's own words name the address once more, in its own way.
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            self._fail(f"{self._step} failed: {reason}")
            return
        except asyncio.CancelledError:
            self._attempt = None
            self._forget_if_over()
            raise
        self._attempt = None
        self._backoff.reset()
        if not driver.takes_calls:
            # Lost or told to go away in the same turn of the loop.
            self._fail(f"connection to {self.address} ended as soon as it began")
            return
        self.driver = driver
        self._set_state(ConnectivityState.READY)

    async def _establish(self) -> ClientProtocol:
        # While it begins, one before it may still end: its last calls have run on.
        driver = ClientProtocol(
            Connection(server=False, **self._connection_options),
            self._loop,
            self,
            self._clock,
            self._rules(),
        )
        self._step = f"connect to {self.address}"
        handshake = self._handshakes[driver] = self._loop.create_future()
        try:
            if self._tls is None:
                await self._network.connect(self._loop, driver, self.address)
            else:
                await self._connect_tls(driver, *self._tls)
            if not driver.lost:
                self._connections[driver] = self._loop.create_future()
            self._step = f"HTTP/2 handshake with {self.address}"
            await handshake
        except BaseException:
            driver.abort()
            raise
        finally:
            del self._handshakes[driver]
            handshake.cancel()
        return driver

    async def _connect_tls(
        self, driver: ClientProtocol, settings: TlsSettings, server_name: str
    ) -> None:
        over = self._loop.create_future()

        def tell(layer: TlsProtocol, error: Exception | None) -> None:
            if over.done():
                return
            if error is None:
                over.set_result(None)
            else:
                over.set_exception(error)

        layer = TlsProtocol(
            self._loop, self._clock, settings, lambda: driver, tell, server_name=server_name
        )
        try:
            await self._network.connect(self._loop, layer, self.address)
            self._step = f"TLS handshake with {self.address}"
            await over
        except BaseException:
            layer.abort()
            raise
        finally:
            over.cancel()

    def _fail(self, reason: str) -> None:
        if self._shut_down:
            self._forget_if_over()
            return
        self._set_state(ConnectivityState.TRANSIENT_FAILURE, Status(StatusCode.UNAVAILABLE, reason))
        self._timer = self._clock.call_at(self._loop, self._retry_at, self._end_backoff)

    def _attempts(self) -> list[asyncio.Task[None]]:
        return [attempt for attempt in (self._attempt, self._growing) if attempt is not None]

    def _forget_if_over(self) -> None:
        over = self._shut_down and not self._connections and not self._attempts()
        if over and not self._forgotten:
            self._forgotten = True
            self._forget(self)

    def _end_backoff(self) -> None:
        self._timer = None
        self._set_state(ConnectivityState.IDLE)

    def _set_state(self, state: ConnectivityState, status: Status | None = None) -> None:
        if state is not self._state and not self._shut_down:
            self._state = state
            self._changed(self, state, status)

    def quiet_since(self) -> float | None:
        """When its last call ended, or its newest connection began, by the clock; None while there
        are calls or a connection is made."""
        ends = [driver.quiet_since for driver in list(self._connections)]
        if None in ends or self._attempts():
            return None
        return max(filter(None, ends), default=0.0)

    def stats(self) -> SubchannelStats:
        """The figures of this subchannel. Any thread."""
        # list() of a dict is one step; the loop's thread may go on meanwhile.
        drivers = list(self._connections)
        limits = dict(self._limits)
        for driver in drivers:
            add_counts(limits, driver.connection.limits)
        return SubchannelStats(
            id=self.id,
            created=self._created,
            target=str(self.address),
            state=self._state.name,
            calls=sum((driver.call_stats() for driver in drivers), self._past_calls),
            connections=tuple(sorted(driver.id for driver in drivers)),
            limits=limits,
        )

    def __repr__(self) -> str:
        return f"<Subchannel to {self.address} {self._state.name}>"
