"""The states of a channel and of a subchannel (gRPC `connectivity-semantics-and-api`)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConnectivityState(enum.Enum):
    """What a channel or a subchannel is doing about its connection."""

    IDLE = 0
    """Not connected and not trying; a call, or a request to connect, starts it."""
    CONNECTING = 1
    READY = 2
    TRANSIENT_FAILURE = 3
    """An attempt failed; the next one follows when its backoff is over."""
    SHUTDOWN = 4
    """Closed for good."""


def aggregate(states: Iterable[ConnectivityState]) -> ConnectivityState:
    """The state of a channel by those of its subchannels; TRANSIENT_FAILURE when there are none.

    READY if one is, else CONNECTING if one is, else IDLE if one is, else TRANSIENT_FAILURE.
    """
    present = set(states)
    for state in (ConnectivityState.READY, ConnectivityState.CONNECTING, ConnectivityState.IDLE):
        if state in present:
            return state
    return ConnectivityState.TRANSIENT_FAILURE
