import logging
from typing import Any

from ..rpc.metadata import Metadata
from ..rpc.method import Pattern
from ..rpc.peer import Peer
from ..transport.interception import Interception, Interceptors

log: logging.Logger

class ServerInterceptors(Interceptors):
    """The interceptors of a server."""

class ServerInterception(Interception):
    """One call on a server, as its interceptors see it."""

    @property
    def method(self) -> str:
        """What was called, "/package.Service/Method"."""
    @property
    def pattern(self) -> Pattern:
        """Which of its sides sends a stream."""
    @property
    def is_client(self) -> bool:
        """Whether this is the side that makes the call."""
    @property
    def metadata(self) -> Metadata:
        """The metadata of the request."""
    @property
    def peer(self) -> Peer:
        """The client's address."""
    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
    @property
    def target(self) -> None:
        """The target of the channel: a server knows none."""
    @property
    def sent_bytes(self) -> int:
        """Bytes of the reply messages."""
    @property
    def received_bytes(self) -> int:
        """Bytes of the request messages."""
    @property
    def request(self) -> Any:
        """The request message of a call that has one; None where requests are a stream."""
    def cancel(self) -> None:
        """End the call with CANCELLED."""

async def nothing_to_run() -> None: ...
async def run_intercepted(interception: ServerInterception) -> None: ...
