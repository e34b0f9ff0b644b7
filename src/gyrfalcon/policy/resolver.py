"""Name resolvers: they push where the servers of a target are, and push again when that changes.

A program that finds its servers in its own way writes a Resolver and a function that makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..rpc import Status
    from .target import Address, Target


# A named tuple, as the other values here: a frozen dataclass takes 0.9 ms to define, this 0.1 ms.
class Resolution(NamedTuple):
    """What a resolver found: every address of the target, in order of preference."""

    addresses: tuple[Address, ...]
    service_config: Mapping[str, Any] | None = None
    """The service config that was published with the addresses (gRPC `service_config`)."""


class ResolverListener(Protocol):
    """The channel, as a resolver sees it. To be called only by the loop or thread that runs the
    channel; `Resolver.start` and `Resolver.resolve_now` may call it before they return."""

    def resolved(self, resolution: Resolution, /) -> bool:
        """Take a new result, which replaces the one before as a whole.

        Returns False when it is of no use, as without addresses: a resolver that polls then tries
        again after a backoff.
        """
        ...

    def failed(self, status: Status, /) -> None:
        """Take note that the target could not be resolved now. Earlier addresses stay in use."""
        ...


class Resolver(Protocol):
    """Finds the addresses of one target, from `start` to `close`."""

    def start(self) -> None:
        """Begin; results go to the listener, now or later."""
        ...

    def resolve_now(self) -> None:
        """A hint that the last result may be outdated; called often, so the resolver limits how
        often it really asks."""
        ...

    def close(self) -> None:
        """Stop and free everything; the listener is not called any more."""
        ...


class ResolverFactory(Protocol):
    """Makes the resolver of a target, whose scheme chose this factory."""

    def __call__(self, target: Target, listener: ResolverListener, /) -> Resolver: ...


class StaticResolver:
    """The resolver of targets that hold their addresses: ipv4, ipv6, unix and unix-abstract."""

    __slots__ = ("_addresses", "_listener")

    def __init__(self, target: Target, listener: ResolverListener, /) -> None:
        self._addresses = target.addresses
        self._listener = listener

    def start(self) -> None:
        self._listener.resolved(Resolution(self._addresses))

    def resolve_now(self) -> None:
        """Nothing to do: the addresses cannot change."""

    def close(self) -> None:
        """Nothing to free."""
