"""What services may hear of the server that serves them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .server import Server

log = logging.getLogger("gyrfalcon.server")

Event = Literal["server_draining", "server_stopped"]


class ServerObserver:
    """Mix it into a service that wants to know of its server's life; override what is needed.

    Each method is called once, in the thread of the server's loop, which waits for it: do not
    block in there, start a task for what takes time. What `server_starting` raises comes out of
    `Server.listen`; what the others raise is logged.
    """

    __slots__ = ()

    def server_starting(self, server: Server) -> None:
        """The server is about to listen for the first time; no call has come yet.

        `server.services` says what else is served.
        """

    def server_draining(self, server: Server) -> None:
        """The server begins to stop: its clients hear of it next. Calls that run go on."""

    def server_stopped(self, server: Server) -> None:
        """The server has stopped: its calls are over."""


def tell_starting(services: Iterable[Any], server: Server) -> None:
    """Call `server_starting` of those that observe."""
    for service in services:
        if isinstance(service, ServerObserver):
            service.server_starting(server)


def tell(services: Iterable[Any], server: Server, event: Event) -> None:
    """Call one of the other methods of those that observe."""
    for service in services:
        if isinstance(service, ServerObserver):
            try:
                getattr(service, event)(server)
            except Exception:
                log.exception("%r: %s of %r failed", server, event, service)
