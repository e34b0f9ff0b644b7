"""Which connections a server takes on: as many as it has room for."""

from __future__ import annotations

import asyncio
import logging
import weakref
from typing import Any, Final

from ..transport.clock import Clock
from ..transport.descriptors import spare_descriptors
from .connection import ServerProtocol

log = logging.getLogger("gyrfalcon.server")

# A full server drops a connection that has been silent for so long, for a new one.
PATIENCE_S: Final = 1.0
# Of these at a time: until they are closed they hold descriptors.
_MOST_LEAVING = 16
_LOG_INTERVAL_S = 1.0


class Admission:
    """The connections of one server. It belongs to the server's loop.

    `limit`: how many at once; None: what the limit on open files leaves room for when it opens.
    """

    def __init__(self, limit: int | None, clock: Clock) -> None:
        self._asked = limit
        self._limit = limit
        self._clock = clock
        self.drivers: set[ServerProtocol] = set()
        """Those that are there, and whose calls' handlers have not all returned."""
        # Accepted, and not told so yet. Weak: a loop may drop what it accepted.
        self._coming: weakref.WeakSet[ServerProtocol] = weakref.WeakSet()
        # Without the client's SETTINGS yet, the oldest first; when each came.
        self._silent: dict[ServerProtocol, float] = {}
        self._leaving: set[ServerProtocol] = set()
        self._refused = 0
        self._logged_at = -_LOG_INTERVAL_S

    def open(self) -> None:
        """Begin to take connections on."""
        if self._limit is None:
            self._limit = spare_descriptors()

    def has_room(self, others: int = 0) -> bool:
        """Whether one more connection is taken on; `others` are those that have no driver yet."""
        if self._limit is None:
            return True
        taken = len(self.drivers) + len(self._coming) + others - len(self._leaving)
        return taken < self._limit or self._drop_silent()

    def expect(self, driver: ServerProtocol) -> None:
        """It was made for a connection."""
        self._coming.add(driver)

    def made(self, driver: ServerProtocol) -> None:
        """Its connection is there."""
        self._coming.discard(driver)
        self.drivers.add(driver)
        self._silent[driver] = self._clock.time()

    def shaken(self, driver: ServerProtocol) -> None:
        """Its client speaks HTTP/2."""
        self._silent.pop(driver, None)

    def over(self, driver: ServerProtocol) -> None:
        """Its connection is gone, and the handlers of its calls have returned."""
        self.drivers.discard(driver)
        self._silent.pop(driver, None)
        self._leaving.discard(driver)

    def refuse(self) -> asyncio.BufferedProtocol:
        """The protocol of a connection that has no place; tells the log, once a second at most."""
        self._refused += 1
        now = self._clock.time()
        if now - self._logged_at >= _LOG_INTERVAL_S:
            log.warning(
                "connections refused: %d; the server is at its limit of %s (max_connections%s)",
                self._refused,
                self._limit,
                "" if self._asked is not None else ", from the limit on open files",
            )
            self._logged_at, self._refused = now, 0
        return Refused()

    def _drop_silent(self) -> bool:
        """Make place by dropping the oldest connection of which nothing sensible was heard."""
        oldest = next(iter(self._silent), None)
        if oldest is None or len(self._leaving) >= _MOST_LEAVING:
            return False
        if self._clock.time() - self._silent[oldest] < PATIENCE_S:
            return False
        del self._silent[oldest]
        self._leaving.add(oldest)
        oldest.connection.count_limit("max_connections")
        oldest.abort()
        return True


class Refused(asyncio.BufferedProtocol):
    """Closes the connection that it is given."""

    def connection_made(self, transport: Any) -> None:
        """asyncio: the transport is there."""
        transport.abort()

    def get_buffer(self, sizehint: int) -> bytearray:
        """asyncio: where to read to."""
        return bytearray(1)
