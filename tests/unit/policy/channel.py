"""A channel and subchannels that only record what a balancer asks of them."""

from __future__ import annotations

from collections.abc import Callable

from gyrfalcon.policy import (
    Address,
    Balancer,
    ConnectivityState,
    Pick,
    Picker,
    Resolution,
    TcpAddress,
)
from gyrfalcon.rpc import Status, StatusCode

IDLE = ConnectivityState.IDLE
CONNECTING = ConnectivityState.CONNECTING
READY = ConnectivityState.READY
FAILED = ConnectivityState.TRANSIENT_FAILURE

A, B, C = (TcpAddress(f"10.0.0.{n}", 50051) for n in (1, 2, 3))


class FakeSubchannel:
    """Changes state only when a test says so."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.state = IDLE
        self.attempts = 0
        self.open = True

    def connect(self) -> None:
        if self.state is IDLE:
            self.state = CONNECTING
            self.attempts += 1

    def shutdown(self) -> None:
        assert self.open, f"{self.address} is shut down twice"
        self.open = False


class FakeTimer:
    def __init__(self, delay: float, callback: Callable[[], None]) -> None:
        self.delay = delay
        self.callback = callback
        self.due = True

    def cancel(self) -> None:
        self.due = False


class FakeChannel:
    """The control of a balancer, and the hand that moves its subchannels."""

    def __init__(self, make: Callable[[FakeChannel], Balancer]) -> None:
        self.subchannels: list[FakeSubchannel] = []
        self.published: list[ConnectivityState] = []
        self.picker: Picker | None = None
        self.resolutions_wanted = 0
        self.timers: list[FakeTimer] = []
        self.balancer = make(self)

    def create_subchannel(self, address: Address, /) -> FakeSubchannel:
        self.subchannels.append(FakeSubchannel(address))
        return self.subchannels[-1]

    def publish(self, state: ConnectivityState, picker: Picker, /) -> None:
        self.published.append(state)
        self.picker = picker

    def resolve_now(self) -> None:
        self.resolutions_wanted += 1

    def call_later(self, delay: float, callback: Callable[[], None], /) -> FakeTimer:
        self.timers.append(FakeTimer(delay, callback))
        return self.timers[-1]

    @property
    def state(self) -> ConnectivityState:
        return self.published[-1]

    @property
    def due(self) -> list[FakeTimer]:
        return [timer for timer in self.timers if timer.due]

    def fire(self) -> None:
        [timer] = self.due
        timer.due = False
        timer.callback()

    def resolve(self, *addresses: Address) -> bool:
        return self.balancer.resolved(Resolution(addresses))

    def at(self, address: Address) -> FakeSubchannel:
        [found] = [each for each in self.subchannels if each.address == address and each.open]
        return found

    def tried(self) -> list[Address]:
        """Addresses with an attempt under way, in order of creation."""
        return [each.address for each in self.subchannels if each.open and each.state is CONNECTING]

    def move(self, address: Address, state: ConnectivityState, why: str = "") -> None:
        subchannel = self.at(address)
        if state is not CONNECTING:
            self.balancer.subchannel_changed(subchannel, CONNECTING, None)
        subchannel.state = state
        status = Status(StatusCode.UNAVAILABLE, why) if state is FAILED else None
        self.balancer.subchannel_changed(subchannel, state, status)

    def back_off(self, address: Address) -> None:
        """The backoff of a failed subchannel ends."""
        subchannel = self.at(address)
        assert subchannel.state is FAILED
        subchannel.state = IDLE
        self.balancer.subchannel_changed(subchannel, IDLE, None)

    def lose(self, address: Address) -> None:
        """A connected subchannel loses its connection."""
        subchannel = self.at(address)
        assert subchannel.state is READY
        subchannel.state = IDLE
        self.balancer.subchannel_changed(subchannel, IDLE, None)

    def pick(self) -> Pick:
        assert self.picker is not None
        return self.picker.pick("/shop.Orders/Get", ())

    def picked(self) -> Address:
        subchannel = self.pick().subchannel
        assert subchannel is not None
        return subchannel.address

    def failure(self) -> str:
        failure = self.pick().failure
        assert failure is not None
        return failure.message
