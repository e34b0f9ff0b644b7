"""pick_first: one connection, to the first address that answers (gRPC A61 and A62)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..rpc import Status, StatusCode
from .balancer import QUEUE_PICKER, FixedPicker, Pick
from .connectivity import ConnectivityState
from .target import Address, TcpAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .balancer import ChannelControl, Picker, Subchannel, Timer
    from .resolver import Resolution

IDLE: Final = ConnectivityState.IDLE
CONNECTING: Final = ConnectivityState.CONNECTING
READY: Final = ConnectivityState.READY
TRANSIENT_FAILURE: Final = ConnectivityState.TRANSIENT_FAILURE

ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next address is tried beside one that does not answer (A61, RFC 8305)."""


class PickFirst:
    """Tries the addresses in order and stays with the first one that connects.

    In a pass over the list the next address is tried as soon as one fails, or 250 ms after one that
    neither fails nor connects; the families of IP addresses take turns. After a pass in which all
    failed the channel is in TRANSIENT_FAILURE until one connects, each address going on at its own
    backoff. When the connection is lost the channel is IDLE, and a new pass begins with a new call.
    """

    __slots__ = (
        "_addresses",
        "_control",
        "_failed",
        "_failures",
        "_in_pass",
        "_next",
        "_selected",
        "_state",
        "_states",
        "_status",
        "_subchannels",
        "_timer",
    )

    def __init__(self, control: ChannelControl, /) -> None:
        self._control = control
        self._addresses: list[Address] = []
        self._subchannels: dict[Address, Subchannel] = {}
        self._states: dict[Subchannel, ConnectivityState] = {}
        self._selected: Subchannel | None = None
        self._state: ConnectivityState | None = None
        self._in_pass = False
        self._next = 0
        self._failed: set[Subchannel] = set()
        self._failures = 0
        self._status = Status(StatusCode.UNAVAILABLE)
        self._timer: Timer | None = None

    def resolved(self, resolution: Resolution, /) -> bool:
        known = bool(self._addresses)
        self._addresses = interleave(resolution.addresses)
        self._shut_down(keep=set(self._addresses))
        if not self._addresses:
            self._fail(Status(StatusCode.UNAVAILABLE, "the target was resolved to no addresses"))
            return False
        if self._selected is not None or (self._state is IDLE and known):
            return True
        # A failure to connect outlives new addresses (A62); a lack of addresses does not.
        if self._state is not TRANSIENT_FAILURE or not known:
            self._publish(CONNECTING, QUEUE_PICKER)
        self._start_pass()
        return True

    def resolver_failed(self, status: Status, /) -> None:
        if not self._addresses:
            self._fail(status)

    def subchannel_changed(
        self, subchannel: Subchannel, state: ConnectivityState, status: Status | None, /
    ) -> None:
        before = self._states.get(subchannel)
        if before is None:
            return
        self._states[subchannel] = state
        if state is READY:
            self._select(subchannel)
        elif subchannel is self._selected or (before is CONNECTING and state is IDLE):
            self._lose()
        elif state is TRANSIENT_FAILURE:
            self._status = status or self._status
            self._note_failure(subchannel)
        elif state is IDLE and not self._in_pass:
            subchannel.connect()

    def exit_idle(self) -> None:
        if self._state is IDLE and self._addresses:
            self._publish(CONNECTING, QUEUE_PICKER)
            self._start_pass()

    def close(self) -> None:
        self._addresses = []
        self._shut_down(keep=())

    def _start_pass(self) -> None:
        self._in_pass = True
        self._next = 0
        self._failed.clear()
        self._try_next()

    def _try_next(self) -> None:
        self._cancel_timer()
        while not self._all_tried():
            subchannel = self._subchannel(self._addresses[self._next])
            self._next += 1
            if self._states[subchannel] is TRANSIENT_FAILURE:
                self._failed.add(subchannel)
                continue
            subchannel.connect()
            if not self._all_tried():
                self._timer = self._control.call_later(ATTEMPT_DELAY, self._try_next)
            return
        if len(self._failed) == len(self._states):
            self._end_pass()

    def _subchannel(self, address: Address) -> Subchannel:
        subchannel = self._subchannels.get(address)
        if subchannel is None:
            subchannel = self._control.create_subchannel(address)
            self._subchannels[address] = subchannel
            self._states[subchannel] = IDLE
        return subchannel

    def _note_failure(self, subchannel: Subchannel) -> None:
        if not self._in_pass:
            self._failures += 1
            if self._failures >= len(self._states):
                self._report_failures()
            return
        self._failed.add(subchannel)
        if subchannel.address == self._addresses[self._next - 1] or self._all_tried():
            self._try_next()

    def _all_tried(self) -> bool:
        return self._next == len(self._addresses)

    def _end_pass(self) -> None:
        self._in_pass = False
        self._report_failures()
        for subchannel, state in list(self._states.items()):
            if state is IDLE:
                subchannel.connect()

    def _select(self, subchannel: Subchannel) -> None:
        self._in_pass = False
        self._shut_down(keep=(subchannel.address,))
        self._selected = subchannel
        self._publish(READY, FixedPicker(Pick(subchannel)))

    def _lose(self) -> None:
        self._selected = None
        self._in_pass = False
        self._shut_down(keep=())
        self._publish(IDLE, QUEUE_PICKER)
        self._control.resolve_now()

    def _report_failures(self) -> None:
        self._failures = 0
        self._fail(self._status)
        self._control.resolve_now()

    def _fail(self, status: Status) -> None:
        self._publish(TRANSIENT_FAILURE, FixedPicker(Pick(failure=status)))

    def _publish(self, state: ConnectivityState, picker: Picker) -> None:
        self._state = state
        self._control.publish(state, picker)

    def _shut_down(self, keep: Iterable[Address]) -> None:
        self._cancel_timer()
        kept = set(keep)
        for address, subchannel in list(self._subchannels.items()):
            if address not in kept:
                del self._subchannels[address], self._states[subchannel]
                self._failed.discard(subchannel)
                if subchannel is self._selected:
                    self._selected = None
                subchannel.shutdown()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def interleave(addresses: Iterable[Address]) -> list[Address]:
    """Each address once, kinds (IPv4, IPv6, others) taking turns, in order of first appearance.

    RFC 8305 section 4: a network without IPv6 costs one failed attempt, not as many as there are
    IPv6 addresses.
    """
    kinds: dict[str, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        kinds.setdefault(_kind(address), []).append(address)
    rounds = max(map(len, kinds.values()), default=0)
    return [kind[turn] for turn in range(rounds) for kind in kinds.values() if turn < len(kind)]


def _kind(address: Address) -> str:
    if not isinstance(address, TcpAddress):
        return "unix"
    if ":" in address.host:
        return "ipv6"
    return "ipv4" if address.host.replace(".", "").isdecimal() else "name"
