"""Load balancing: a balancer decides which connections exist, its pickers which one takes a call.

The balancer is told what the resolver found and how its subchannels fare, and publishes a picker
whenever the answer to "which connection?" changes. A picker is a snapshot: it never changes, never
waits and may be asked by any thread; calls that it cannot place wait in the channel for the next.

The channel calls the methods of a balancer one at a time. A change of a subchannel that a method of
the balancer causes is delivered after that method has returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..rpc import Status
    from .connectivity import ConnectivityState
    from .resolver import Resolution
    from .target import Address


class Subchannel(Protocol):
    """At most one connection to one address, with its backoff.

    It begins IDLE. `connect` makes it CONNECTING, then READY or, for the time of its backoff,
    TRANSIENT_FAILURE, then IDLE again. A READY one that loses its connection becomes IDLE.
    It is compared by identity.
    """

    @property
    def address(self) -> Address: ...

    def connect(self) -> None:
        """Start an attempt. Does nothing unless the subchannel is IDLE."""
        ...

    def shutdown(self) -> None:
        """End it: calls on it finish, nothing new begins. No change is reported any more."""
        ...


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Forget it; does nothing when it was made already."""
        ...


class Pick(NamedTuple):
    """The answer of a picker about one call.

    - `subchannel`: the call goes there; when it is no longer READY the call waits for the next
      picker, which is on its way;
    - `failure`: the call fails with this status, but waits for the next picker if it waits for
      ready; with `drop` it fails in any case and is not retried;
    - neither: the call waits for the next picker.
    """

    subchannel: Subchannel | None = None
    failure: Status | None = None
    drop: bool = False
    done: Callable[[Status | None], None] | None = None
    """Called once when the call ends, with its status, or with None when it never started."""


QUEUE: Final = Pick()
"""Wait for the next picker."""


class Picker(Protocol):
    """Chooses the subchannel of each call. Immutable; must not block, wait or do IO."""

    def pick(self, path: str, metadata: Sequence[tuple[str, str | bytes]], /) -> Pick:
        """Where the call of a method ("/pkg.Service/Method") with this metadata goes."""
        ...


class FixedPicker:
    """A picker with one answer."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Pick) -> None:
        self._answer = answer

    def pick(self, path: str, metadata: Sequence[tuple[str, str | bytes]], /) -> Pick:
        return self._answer


QUEUE_PICKER: Final = FixedPicker(QUEUE)


class ChannelControl(Protocol):
    """The channel, as a balancer sees it."""

    def create_subchannel(self, address: Address, /) -> Subchannel:
        """A new subchannel, IDLE. Its changes go to `Balancer.subchannel_changed`."""
        ...

    def publish(self, state: ConnectivityState, picker: Picker, /) -> None:
        """Make this the state of the channel and this its picker; waiting calls are picked again.

        While the state is IDLE the channel calls `Balancer.exit_idle` for a call that waits.
        """
        ...

    def resolve_now(self) -> None:
        """Ask the resolver whether its addresses are still right."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call back after `delay` seconds, as another call of the balancer's methods."""
        ...


class Balancer(Protocol):
    """Keeps the subchannels of a channel and publishes pickers."""

    def resolved(self, resolution: Resolution, /) -> bool:
        """Take a new result of the resolver. False when it is of no use (no addresses)."""
        ...

    def resolver_failed(self, status: Status, /) -> None:
        """Take note that the target could not be resolved; calls fail only without addresses."""
        ...

    def subchannel_changed(
        self, subchannel: Subchannel, state: ConnectivityState, status: Status | None, /
    ) -> None:
        """Take the new state of a subchannel; `status` says why it is in TRANSIENT_FAILURE."""
        ...

    def exit_idle(self) -> None:
        """Connect if IDLE."""
        ...

    def close(self) -> None:
        """Shut every subchannel down."""
        ...


class BalancerFactory(Protocol):
    """Makes the balancer of a channel."""

    def __call__(self, control: ChannelControl, /) -> Balancer: ...
