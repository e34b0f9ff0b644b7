"""The resolver for host names: the system's, through the event loop."""

from __future__ import annotations

import asyncio

from ..policy.backoff import ConnectionBackoff
from ..policy.balancer import Timer
from ..policy.resolver import Resolution, ResolverListener
from ..policy.target import Target, TcpAddress
from ..rpc.status import Status, StatusCode
from .addresses import is_ip_address
from .network import SYSTEM_NETWORK, Network

# grpc-go's and gRPC core's minimum between two look-ups.
_MIN_SECONDS = 30.0


class DnsResolver:
    """Looks the host of a target up; again when asked to, at most every 30 seconds, and with
    backoff after a failure. An IP address needs no look-up. It belongs to the running loop."""

    def __init__(
        self, target: Target, listener: ResolverListener, /, network: Network = SYSTEM_NETWORK
    ) -> None:
        address = target.addresses[0]
        assert isinstance(address, TcpAddress)
        self._address = address
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._network = network
        self._clock = network.clock
        self._not_before = 0.0
        self._backoff = ConnectionBackoff()

    def start(self) -> None:
        """Begin."""
        if is_ip_address(self._address.host):
            self._listener.resolved(Resolution((self._address,)))
        else:
            self._look_up()

    def resolve_now(self) -> None:
        """A hint that the addresses may be outdated."""
        if self._task is None and self._timer is None and not is_ip_address(self._address.host):
            delay = self._not_before - self._clock.time()
            if delay <= 0:
                self._look_up()
            else:
                self._timer = self._clock.call_later(self._loop, delay, self._look_up)

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            self._task.cancel()

    def _look_up(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._resolve())

    async def _resolve(self) -> None:
        host, port = self._address
        now = self._clock.time()
        self._not_before = now + _MIN_SECONDS
        try:
            found = await self._network.look_up(self._loop, host, port)
        except (OSError, UnicodeError) as error:
            self._task = None
            reason = getattr(error, "strerror", None) or error
            self._listener.failed(
                Status(StatusCode.UNAVAILABLE, f"resolve {host!r} failed: {reason}")
            )
            attempt = self._backoff.attempt(now, 0.5)
            self._timer = self._clock.call_at(self._loop, attempt.retry_at, self._look_up)
            return
        self._task = None
        self._backoff.reset()
        self._listener.resolved(Resolution(tuple(dict.fromkeys(found))))
