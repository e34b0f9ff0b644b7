"""A subchannel: at most one connection to one address, with its backoff."""

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
from ..transport.network import Network
from ..transport.timeouts import timeout_at, wait
from .call import ClientDriver

Changed = Callable[["Subchannel", ConnectivityState, Status | None], None]


class ClientProtocol(ClientDriver, asyncio.BufferedProtocol):
    """A ClientDriver as asyncio wants protocols to be."""

    __slots__ = ()

    owner: Subchannel


class Subchannel:
    """As `policy.balancer.Subchannel` describes it; `changed` hears of its states.

    It belongs to one loop. `forget` is called when it is shut down and its last connection gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        connection_options: Mapping[str, Any],
        connect_timeout: float,
        network: Network,
        changed: Changed,
        forget: Callable[[Subchannel], None],
    ) -> None:
        self.address = address
        self.driver: ClientProtocol | None = None
        self._loop = loop
        self._network = network
        self._clock = network.clock
        self._connection_options = connection_options
        self._changed = changed
        self._forget = forget
        self._backoff = ConnectionBackoff(connect_timeout=connect_timeout)
        self._state = ConnectivityState.IDLE
        self._attempt: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._timer: Timer | None = None
        self._connections: dict[ClientProtocol, asyncio.Future[None]] = {}
        self._newest: ClientProtocol | None = None
        self._handshake: asyncio.Future[None] | None = None
        self._step = ""
        self._shut_down = False
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
        if self._attempt is not None:
            self._attempt.cancel()
        self.driver = None
        for driver in list(self._connections):
            driver.retire()
        if not self._connections and self._attempt is None:
            self._forget(self)

    async def close(self, grace: float) -> None:
        """Wait for the calls to finish for up to `grace` seconds, then drop the connections."""
        self.shutdown()
        if self._attempt is not None:
            await asyncio.wait([self._attempt])
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

    # ------------------------------------------------------------------ for its connections

    def handshake_done(self, driver: ClientProtocol) -> None:
        """The server's SETTINGS came."""
        if self._handshake is not None and driver is self._newest and not self._handshake.done():
            self._handshake.set_result(None)

    def connection_draining(self, driver: ClientProtocol) -> None:
        """The server takes no new calls on this connection."""
        driver.retire()
        if driver is self.driver:
            self.driver = None
            self._set_state(ConnectivityState.IDLE)

    def connection_lost(self, driver: ClientProtocol, error: Exception | None) -> None:
        """The connection is gone."""
        self._past_calls += driver.call_stats()
        add_counts(self._limits, driver.connection.limits)
        closed = self._connections.pop(driver, None)
        if closed is not None and not closed.done():
            closed.set_result(None)
        if self._handshake is not None and driver is self._newest and not self._handshake.done():
            reason = str(error) if error else "the server closed the connection"
            self._handshake.set_exception(ConnectionError(reason))
        if driver is self.driver:
            self.driver = None
            if not self._shut_down:
                self._set_state(ConnectivityState.IDLE)
        if self._shut_down and not self._connections and self._attempt is None:
            self._forget(self)

    # ------------------------------------------------------------------ one attempt

    async def _connect(self, deadline: float) -> None:
        started = self._clock.time()
        try:
            async with timeout_at(self._clock, deadline):
                driver = await self._establish()
        except TimeoutError:
            self._attempt = None
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
            if self._shut_down and not self._connections:
                self._forget(self)
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
        driver = self._newest = ClientProtocol(
            Connection(server=False, **self._connection_options), self._loop, self, self._clock
        )
        self._step = f"connect to {self.address}"
        self._handshake = handshake = self._loop.create_future()
        try:
            await self._network.connect(self._loop, driver, self.address)
            self._connections[driver] = self._loop.create_future()
            self._step = f"HTTP/2 handshake with {self.address}"
            await handshake
        except BaseException:
            driver.abort()
            raise
        finally:
            self._handshake = None
            handshake.cancel()
        return driver

    def _fail(self, reason: str) -> None:
        if self._shut_down:
            if not self._connections:
                self._forget(self)
            return
        self._set_state(ConnectivityState.TRANSIENT_FAILURE, Status(StatusCode.UNAVAILABLE, reason))
        self._timer = self._clock.call_at(self._loop, self._retry_at, self._end_backoff)

    def _end_backoff(self) -> None:
        self._timer = None
        self._set_state(ConnectivityState.IDLE)

    def _set_state(self, state: ConnectivityState, status: Status | None = None) -> None:
        if state is not self._state and not self._shut_down:
            self._state = state
            self._changed(self, state, status)

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
