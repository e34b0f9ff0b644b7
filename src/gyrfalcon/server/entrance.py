"""Where the connections of a server with TLS stand until TLS is agreed on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ..transport.certificates import TlsSettings
from ..transport.clock import Clock
from ..transport.timeouts import wait
from ..transport.tls import HandshakeQueue, TlsError, TlsProtocol

log = logging.getLogger("gyrfalcon.server")


class Entrance:
    """The TLS handshakes of one server. It belongs to the server's loop.

    `over` is called with the reason when a handshake has ended without a connection of the
    server's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        settings: TlsSettings,
        over: Callable[[TlsError], object],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._settings = settings
        self._over = over
        self._queue = HandshakeQueue(loop)
        # The oldest first; when each came.
        self._waiting: dict[TlsProtocol, float] = {}
        self._empty: asyncio.Future[None] | None = None
        self.failures = 0
        """Handshakes that have failed."""

    def __len__(self) -> int:
        """Handshakes that are under way."""
        return len(self._waiting)

    def admit(self, make_protocol: Callable[[], Any], deadline: float) -> TlsProtocol:
        """The protocol of a connection that was accepted; `make_protocol` is asked for the one on
        top of it when TLS is agreed on, which has to be before `deadline` (by the clock)."""
        layer = TlsProtocol(
            self._loop,
            self._clock,
            self._settings,
            make_protocol,
            self._ended,
            deadline=deadline,
            queue=self._queue,
        )
        self._waiting[layer] = self._clock.time()
        return layer

    def drop_oldest(self, patience: float) -> bool:
        """Drop the connection that has taken longest for its handshake, if that is so many seconds
        already; whether there was one."""
        oldest = next(iter(self._waiting), None)
        if oldest is None or self._clock.time() - self._waiting[oldest] < patience:
            return False
        del self._waiting[oldest]
        oldest.abort()
        return True

    async def settle(self, seconds: float) -> None:
        """Return when no handshake is under way any more, or after that time."""
        if self._waiting:
            self._empty = self._loop.create_future()
            await wait(self._clock, [self._empty], seconds)

    def close(self) -> None:
        """Drop the connections that have no TLS yet."""
        waiting, self._waiting = self._waiting, {}
        for layer in waiting:
            layer.abort()

    def _ended(self, layer: TlsProtocol, error: TlsError | None) -> None:
        if layer not in self._waiting:
            return
        del self._waiting[layer]
        if not self._waiting and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)
        if error is not None:
            self.failures += 1
            log.info("TLS handshake with %s failed: %s", layer.peer_name, error)
            self._over(error)
