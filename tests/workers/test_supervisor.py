"""What a supervisor decides, with processes that are none and a clock that is moved."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest

import gyrfalcon as gyr
from gyrfalcon.server.supervisor import Supervisor, WorkerError
from gyrfalcon.transport.held import HeldSockets
from gyrfalcon.transport.processes import Child, Ended, Event, Signalled, Told

GRACE, LINGER = 30.0, 10.0


class FakeChild:
    """Keeps what it was sent."""

    def __init__(self, number: int, pid: int) -> None:
        self.number, self.pid = number, pid
        self.got: list[object] = []

    def signal(self, number: int) -> None:
        self.got.append(signal.Signals(number).name)

    def tell(self, message: dict[str, Any]) -> None:
        self.got.append(message)


class FakeAddress:
    """An address whose sockets are counted."""

    address = "127.0.0.1:50051"

    def __init__(self) -> None:
        self.did: list[str] = []

    def share(self, worker: int) -> Any:
        self.did.append(f"share {worker}")
        return gyr.policy.HeldAddress((), self.address)

    def withdraw(self, worker: int) -> None:
        self.did.append(f"withdraw {worker}")

    def close(self) -> None:
        self.did.append("close")


class Story(Exception):
    """The end of what a test lets happen."""


class World:
    """Processes, signals and time as the test has them: `happen` says what is next."""

    def __init__(self, workers: int = 2, **options: Any) -> None:
        self.clock = gyr.ManualClock()
        self.children: list[FakeChild] = []
        self.timeout: float | None = None
        self.address = FakeAddress()
        self.cannot_start = False
        self.supervisor = Supervisor(
            self,
            cast(Any, None),
            [cast(HeldSockets, self.address)],
            workers,
            clock=self.clock,
            linger=LINGER,
            **options,
        )
        self._steps: Iterator[Sequence[Event]] = iter(())

    def start(
        self, launch: object, number: int, handover: dict[str, Any], descriptors: Sequence[int]
    ) -> Child:
        if self.cannot_start:
            raise OSError("no more processes")
        child = FakeChild(number, 100 + len(self.children))
        self.children.append(child)
        return cast(Child, child)

    def wait(self, timeout: float | None) -> Iterator[Event]:
        self.timeout = timeout
        try:
            events = next(self._steps)
        except StopIteration:
            raise Story from None
        yield from events

    def tell(self, story: Callable[[], Iterator[Sequence[Event]]]) -> bool:
        """Run the supervisor through a story; whether it came to its end by itself."""
        self._steps = story()
        try:
            self.supervisor.run()
        except Story:
            return False
        return True

    def ready(self, index: int) -> Told:
        return Told(cast(Child, self.children[index]), {"ready": {"grace": GRACE}})

    def failed(self, index: int, message: str) -> Told:
        return Told(cast(Child, self.children[index]), {"failed": {"message": message}})

    def ended(self, index: int, status: int = 0) -> Ended:
        return Ended(cast(Child, self.children[index]), status)

    def all_ready(self) -> list[Event]:
        return [self.ready(index) for index in range(len(self.children))]

    def got(self) -> list[list[object]]:
        return [child.got for child in self.children]

    @property
    def numbers(self) -> list[int]:
        return [child.number for child in self.children]


TERM, HUP, USR1 = (Signalled(one) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1))


def test_it_starts_so_many_and_a_signal_drains_them() -> None:
    world = World(3)

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [TERM]
        yield [world.ended(1), world.ended(0)]
        yield [world.ended(2)]

    assert world.tell(story)
    assert (world.numbers, world.got()) == ([1, 2, 3], [["SIGTERM"]] * 3)
    # The address is given up before anybody is told: nobody is to wait for an answer there.
    assert world.address.did == ["share 1", "share 2", "share 3", "close"]


def test_a_second_signal_ends_them_at_once_and_what_stays_is_killed() -> None:
    world = World(1)

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [TERM]
        yield []
        assert world.timeout == GRACE + 5.0
        yield [Signalled(signal.SIGINT)]
        yield []
        assert world.timeout == 5.0
        world.clock.advance(5.0)
        yield []
        yield [world.ended(0, -signal.SIGKILL)]

    assert world.tell(story)
    assert world.got() == [["SIGTERM", {"stop": "at once"}, "SIGKILL"]]


def test_one_that_served_long_is_replaced_at_once_on_the_same_sockets() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        world.clock.advance(10.0)
        yield [world.ended(1, -signal.SIGSEGV)]

    assert not world.tell(story)
    assert (world.numbers, world.address.did[2:]) == ([1, 2, 2], ["share 2"])


def test_one_that_dies_early_is_replaced_later_and_the_others_get_what_would_wait() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [world.ended(1, 1)]
        assert world.numbers == [1, 2]
        yield []
        assert world.timeout == 1.0
        world.clock.advance(1.0)
        yield []

    assert not world.tell(story)
    assert (world.numbers, world.address.did[2:]) == ([1, 2, 2], ["withdraw 2", "share 2"])


def test_one_that_dies_at_its_start_again_and_again_ends_the_whole() -> None:
    world = World(1)

    def story() -> Iterator[Sequence[Event]]:
        for death in range(3):
            yield [world.ended(death, 1)]
            world.clock.advance(2.0)
            yield []

    with pytest.raises(WorkerError, match=r"worker 1 \(pid 102\) .* status 1 .* 3 times in a row"):
        world.tell(story)
    assert world.numbers == [1, 1, 1]


def test_it_does_not_end_the_others_that_serve() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield [world.ready(0)]
        for death in range(1, 6):
            yield [world.ended(death, 1)]
            world.clock.advance(30.0)
            yield []

    assert not world.tell(story)
    assert world.numbers == [1, 2, 2, 2, 2, 2, 2]
    assert world.got()[0] == []


def test_a_worker_that_knows_why_it_cannot_serve_ends_the_first_start() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield [world.failed(0, "there is no module 'shop'"), world.ended(0, 2)]
        yield [world.ended(1, -signal.SIGTERM)]

    with pytest.raises(WorkerError, match="there is no module 'shop'") as caught:
        world.tell(story)
    assert caught.value.details == {"message": "there is no module 'shop'"}
    assert world.got()[1] == ["SIGTERM"]


def test_a_reload_drains_the_old_when_all_of_the_new_serve() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [HUP]
        yield [world.ready(2)]
        assert world.got() == [[], [], [], []]
        yield [world.ready(3)]
        assert world.got() == [[{"leave": LINGER}], [{"leave": LINGER}], [], []]
        yield []
        assert world.timeout == LINGER + GRACE + 5.0
        yield [world.ended(0), world.ended(1)]
        yield []
        assert world.timeout is None

    assert not world.tell(story)
    assert world.numbers == [1, 2, 1, 2]
    assert world.address.did == ["share 1", "share 2", "share 1", "share 2"]


def test_a_reload_that_fails_leaves_the_old_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [HUP]
        yield [world.ready(2), world.failed(3, "no such module"), world.ended(3, 2)]
        yield [world.ended(2, -signal.SIGTERM)]
        yield [HUP]

    assert not world.tell(story)
    assert world.got() == [[], [], ["SIGTERM"], [], [], []]
    assert "worker 2 (pid 103) cannot serve: no such module" in caplog.text
    assert "ended with status 2 at its start: the reload is given up" in caplog.text


def test_a_second_reload_begins_anew() -> None:
    world = World(1)

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [HUP, HUP]
        yield [world.ended(1, -signal.SIGTERM)]
        yield [world.ready(2)]

    assert not world.tell(story)
    assert world.got() == [[{"leave": LINGER}], ["SIGTERM"], []]


def test_when_an_old_one_dies_during_a_reload_the_new_one_takes_its_place() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        yield [HUP]
        yield [world.ended(0, 1)]
        yield [world.ready(2), world.ready(3)]

    assert not world.tell(story)
    assert world.numbers == [1, 2, 1, 2]
    assert world.got() == [[], [{"leave": LINGER}], [], []]


def test_signals_are_passed_on_to_those_that_serve() -> None:
    world = World()

    def story() -> Iterator[Sequence[Event]]:
        yield [world.ready(0), USR1]

    assert not world.tell(story)
    assert world.got() == [["SIGUSR1"], []]


def test_in_development_a_death_at_the_start_waits_for_a_change() -> None:
    world = World(1, developing=True)

    def story() -> Iterator[Sequence[Event]]:
        yield [world.failed(0, "syntax"), world.ended(0, 1)]
        yield []
        assert world.timeout is None
        yield [HUP]
        yield [world.ready(1)]
        yield [HUP]
        yield [world.ready(2)]
        yield []
        assert world.timeout == 1.0
        world.clock.advance(1.0)
        yield []

    assert not world.tell(story)
    assert world.got() == [[], [{"leave": 0.0}, {"stop": "at once"}], []]


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    world = World(1)
    world.cannot_start = True

    def story() -> Iterator[Sequence[Event]]:
        yield []
        assert world.timeout == 1.0
        world.clock.advance(1.0)
        world.cannot_start = False
        yield []

    assert not world.tell(story)
    assert world.numbers == [1]


def test_who_drains_by_himself_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.workers")
    world = World(1)

    def story() -> Iterator[Sequence[Event]]:
        yield world.all_ready()
        world.clock.advance(3600.0)
        yield [world.ended(0)]

    assert not world.tell(story)
    assert world.numbers == [1, 1]
    assert caplog.records[-1].levelno == logging.INFO
    assert "worker 1 (pid 100) ended with status 0 after 3600 s: started again" in caplog.text
