"""round_robin: a connection to every address, and each call to the next one."""

from __future__ import annotations

import random
from itertools import cycle
from typing import TYPE_CHECKING, Final

from ..rpc import Status, StatusCode
from .balancer import QUEUE_PICKER, FixedPicker, Pick
from .connectivity import ConnectivityState, aggregate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .balancer import ChannelControl, Picker, Subchannel
    from .resolver import Resolution
    from .target import Address

IDLE: Final = ConnectivityState.IDLE
CONNECTING: Final = ConnectivityState.CONNECTING
READY: Final = ConnectivityState.READY
TRANSIENT_FAILURE: Final = ConnectivityState.TRANSIENT_FAILURE


class RoundRobinPicker:
    """The subchannels that were READY, in turn."""

    __slots__ = ("_turns",)

    def __init__(self, picks: list[Pick]) -> None:
        self._turns = cycle(picks)

    def pick(self, path: str, metadata: Sequence[tuple[str, str | bytes]], /) -> Pick:
        return next(self._turns)


class RoundRobin:
    """Stays connected to every address; calls go to the READY ones in turn.

    The channel is READY while one of them is. An address that failed counts as failed until it
    connects, though it is tried again: else a channel whose servers are all down would be in
    CONNECTING again and again, and its calls would wait instead of failing.

    `uniform` gives random numbers in [0, 1): each picker starts at a random place, so that clients
    that connect together do not all begin with the same server.
    """

    __slots__ = ("_control", "_ready", "_states", "_status", "_subchannels", "_uniform")

    def __init__(
        self, control: ChannelControl, /, uniform: Callable[[], float] = random.random
    ) -> None:
        self._control = control
        self._uniform = uniform
        self._subchannels: dict[Address, Subchannel] = {}
        self._states: dict[Subchannel, ConnectivityState] = {}
        self._ready: tuple[list[Pick], Picker] = ([], QUEUE_PICKER)
        self._status = Status(StatusCode.UNAVAILABLE)

    def resolved(self, resolution: Resolution, /) -> bool:
        wanted = dict.fromkeys(resolution.addresses)
        for address in [each for each in self._subchannels if each not in wanted]:
            subchannel = self._subchannels.pop(address)
            del self._states[subchannel]
            subchannel.shutdown()
        for address in wanted:
            if address not in self._subchannels:
                subchannel = self._control.create_subchannel(address)
                self._subchannels[address] = subchannel
                self._states[subchannel] = CONNECTING
                subchannel.connect()
        if not wanted:
            self._status = Status(StatusCode.UNAVAILABLE, "the target was resolved to no addresses")
        self._publish()
        return bool(wanted)

    def resolver_failed(self, status: Status, /) -> None:
        if not self._subchannels:
            self._status = status
            self._publish()

    def subchannel_changed(
        self, subchannel: Subchannel, state: ConnectivityState, status: Status | None, /
    ) -> None:
        before = self._states.get(subchannel)
        if before is None:
            return
        if state is IDLE:
            subchannel.connect()
            state = CONNECTING
        if before is TRANSIENT_FAILURE and state is CONNECTING:
            return
        if state is before is not TRANSIENT_FAILURE:
            return
        self._states[subchannel] = state
        if state is TRANSIENT_FAILURE and status is not None:
            self._status = status
        self._publish()
        if state is TRANSIENT_FAILURE or before is READY:
            self._control.resolve_now()

    def exit_idle(self) -> None:
        """Nothing to do: it is never IDLE."""

    def close(self) -> None:
        for subchannel in self._subchannels.values():
            subchannel.shutdown()
        self._subchannels.clear()
        self._states.clear()

    def _publish(self) -> None:
        state = aggregate(self._states.values())
        if state is READY:
            self._control.publish(READY, self._ready_picker())
        elif state is CONNECTING:
            self._control.publish(CONNECTING, QUEUE_PICKER)
        else:
            self._control.publish(TRANSIENT_FAILURE, FixedPicker(Pick(failure=self._status)))

    def _ready_picker(self) -> Picker:
        """The picker of those that are READY; the same one while they are the same."""
        ready = [Pick(each) for each, state in self._states.items() if state is READY]
        if ready != self._ready[0]:
            start = int(self._uniform() * len(ready))
            self._ready = (ready, RoundRobinPicker(ready[start:] + ready[:start]))
        return self._ready[1]
