import logging
from typing import Any

from ..rpc.metadata import Metadata
from ..rpc.method import Pattern
from ..rpc.peer import Peer
from ..transport.interception import Interception, Interceptors

log: logging.Logger

class ClientInterceptors(Interceptors):
    """The interceptors of a channel."""

class ClientInterception(Interception):
    """One call of a client, as its interceptors see it."""

    @property
    def method(self) -> str:
        """What is called, "/package.Service/Method"."""
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
    def peer(self) -> Peer | None:
        """The server's address; None before the call has a connection."""
    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
    @property
    def target(self) -> str:
        """The target of the channel, with its scheme."""
    @property
    def sent_bytes(self) -> int:
        """Bytes of the request messages of this attempt."""
    @property
    def received_bytes(self) -> int:
        """Bytes of the reply messages of this attempt."""
    @property
    def request(self) -> Any:
        """The request message of a call that has one; None where requests are a stream."""
    def cancel(self) -> None:
        """End the call with CANCELLED."""
    def run_errand(self) -> None:
        """Run the interceptors if nobody has done so meanwhile (a thread for interceptors)."""
    def call_again(self) -> None:
        """The pause is over."""
    def settle_task(self) -> None:
        """The task is at its end."""

async def run_in_task(interception: ClientInterception) -> None: ...
