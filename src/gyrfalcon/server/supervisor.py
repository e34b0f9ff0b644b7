"""What becomes of the workers of a server: started, replaced, drained."""

from __future__ import annotations

import itertools
import logging
import math
import random
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..policy.backoff import ConnectionBackoff
from ..rpc.options import check_int
from ..transport.clock import SYSTEM_CLOCK, Clock
from ..transport.held import HeldSockets
from ..transport.processes import Child, Children, Ended, Event, Launcher, Signalled

log = logging.getLogger("gyrfalcon.workers")

MOST_WORKERS = 1024
LINGER_SECONDS = 10.0
# A worker that dies at its start this often in a row will not do better: the whole ends, unless
# others serve.
_DEATHS_AT_START = 3
# One that served for so long and then died is started again at once.
_GOOD_LIFE_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 30.0
# Beyond the grace, for handlers that were cancelled and for the end of the interpreter.
_END_SECONDS = 5.0
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class WorkerError(RuntimeError):
    """Workers cannot be kept running; `details` is what the worker told of it, if it did."""

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = details


class ChildProcesses(Protocol):
    """The processes as `Children` has them."""

    def start(
        self,
        launch: Launcher,
        number: int,
        handover: dict[str, Any],
        descriptors: Sequence[int],
    ) -> Child:
        """Start one."""
        ...

    def wait(self, timeout: float | None) -> Iterator[Event]:
        """What happened next."""
        ...


@dataclass(eq=False)
class _Worker:
    """One process."""

    number: int
    child: Child
    began: float
    ready_at: float | None = None
    grace: float = 0.0
    kill_at: float = math.inf
    hurry_at: float = math.inf

    @property
    def name(self) -> str:
        return f"worker {self.number} (pid {self.child.pid})"


@dataclass(eq=False)
class _Slot:
    """The place of a worker: who has it, and who will have it after a reload."""

    number: int
    serving: _Worker | None = None
    coming: _Worker | None = None
    deaths_at_start: int = 0
    start_at: float = math.inf
    backoff: ConnectionBackoff = field(
        default_factory=lambda: ConnectionBackoff(maximum=_LONGEST_BACKOFF_SECONDS)
    )


class Supervisor:
    """Keeps so many workers running, until it is told to stop.

    `linger`: seconds that workers which a reload replaces keep connections with calls for, before
    they drain them. `developing`: a worker that dies at its start is started again by the next
    reload only, and those that a reload replaces get a second for their calls.
    """

    def __init__(
        self,
        children: ChildProcesses,
        launch: Launcher,
        addresses: Sequence[HeldSockets],
        workers: int,
        *,
        clock: Clock = SYSTEM_CLOCK,
        linger: float = LINGER_SECONDS,
        developing: bool = False,
    ) -> None:
        self._linger = 0.0 if developing else linger
        self._children = children
        self._launch = launch
        self._addresses = addresses
        self._clock = clock
        self._developing = developing
        self._slots = [_Slot(number) for number in range(1, workers + 1)]
        self._leaving: list[_Worker] = []
        self._stopping = False
        self._reloading: float | None = None
        self._announced = False
        self._error: WorkerError | None = None

    def run(self) -> None:
        """Until the last worker has ended. Raises WorkerError when they cannot be kept running."""
        for slot in self._slots:
            self._start(slot)
        while self._alive():
            for event in self._children.wait(self._timeout()):
                self._handle(event)
            self._advance(self._clock.time())
        if self._error is not None:
            raise self._error

    def _alive(self) -> bool:
        return not self._stopping or any(self._workers())

    def _workers(self) -> Iterator[_Worker]:
        for slot in self._slots:
            yield from (one for one in (slot.serving, slot.coming) if one is not None)
        yield from self._leaving

    # ------------------------------------------------------------------ time

    def _timeout(self) -> float | None:
        dates = [slot.start_at for slot in self._slots]
        dates += [when for one in self._workers() for when in (one.kill_at, one.hurry_at)]
        first = min(dates)
        return None if math.isinf(first) else max(first - self._clock.time(), 0.0)

    def _advance(self, now: float) -> None:
        for slot in self._slots:
            if slot.start_at <= now:
                self._start(slot)
        for worker in list(self._workers()):
            if worker.hurry_at <= now:
                self._hurry(worker)
            if worker.kill_at <= now:
                log.warning("%s did not end in time: killed", worker.name)
                worker.kill_at = math.inf
                worker.child.signal(signal.SIGKILL)

    # ------------------------------------------------------------------ starting

    def _start(self, slot: _Slot) -> None:
        slot.start_at = math.inf
        try:
            slot.serving = self._launch_worker(slot)
        except OSError as error:
            self._died_at_start(slot, f"worker {slot.number}", f"cannot be started: {error}")

    def _launch_worker(self, slot: _Slot) -> _Worker:
        shares = [address.share(slot.number) for address in self._addresses]
        handover = {"addresses": [[one.text, list(one.descriptors)] for one in shares]}
        descriptors = list(itertools.chain.from_iterable(one.descriptors for one in shares))
        child = self._children.start(self._launch, slot.number, handover, descriptors)
        worker = _Worker(slot.number, child, self._clock.time())
        log.debug("%s started", worker.name)
        return worker

    def _restart(self, slot: _Slot, delay: float) -> None:
        slot.start_at = self._clock.time() + delay
        if delay:
            # Meanwhile the others get what would wait for it.
            for address in self._addresses:
                address.withdraw(slot.number)

    # ------------------------------------------------------------------ events

    def _handle(self, event: Event) -> None:
        if isinstance(event, Signalled):
            self._signalled(event.number)
            return
        found = [one for one in self._workers() if one.child is event.child]
        if not found:
            return
        if isinstance(event, Ended):
            self._ended(found[0], event.status)
        elif "ready" in event.message:
            self._ready(found[0], event.message["ready"])
        elif "failed" in event.message:
            self._failed(found[0], event.message["failed"])

    def _signalled(self, number: int) -> None:
        if number in _STOPPING:
            if self._stopping:
                log.info("stopping at once")
                for worker in self._workers():
                    self._hurry(worker)
            else:
                log.info("stopping: %s", _counted(len(list(self._workers()))))
                self._stop()
        elif number == signal.SIGHUP:
            self._reload()
        else:
            for worker in self._workers():
                # Before that it may have no handler yet, and would be killed.
                if worker.ready_at is not None:
                    worker.child.signal(number)

    def _ready(self, worker: _Worker, told: dict[str, Any]) -> None:
        slot = self._slots[worker.number - 1]
        worker.ready_at = self._clock.time()
        worker.grace = told["grace"]
        if worker in self._leaving:
            self._drain(worker)
            return
        slot.deaths_at_start = 0
        seconds = worker.ready_at - worker.began
        log.info("%s serves, %.2f s after its start", worker.name, seconds)
        if self._reloading is not None:
            self._finish_reload()
        elif not self._announced and all(
            one.serving is not None and one.serving.ready_at is not None for one in self._slots
        ):
            self._announced = True
            addresses = ", ".join(address.address for address in self._addresses)
            log.info("%s on %s", _counted(len(self._slots)), addresses)
            log.info(
                "Ctrl-C or SIGTERM lets running calls end; a second one ends them; SIGHUP reloads"
            )

    def _failed(self, worker: _Worker, told: dict[str, Any]) -> None:
        """The worker knows why it cannot serve, and that another would not do better."""
        log.error("%s cannot serve: %s", worker.name, told["message"])
        if not self._announced and not self._developing:
            self._give_up(WorkerError(told["message"], told))

    def _ended(self, worker: _Worker, status: int) -> None:
        slot = self._slots[worker.number - 1]
        if worker in self._leaving:
            self._leaving.remove(worker)
            log.info("%s %s", worker.name, _how(status))
            return
        if worker is slot.coming:
            log.error("%s %s at its start: the reload is given up", worker.name, _how(status))
            slot.coming = None
            self._abandon_reload()
            return
        slot.serving = None
        if slot.coming is not None:
            # Its successor is there already, or will be.
            log.warning("%s %s", worker.name, _how(status))
            slot.serving, slot.coming = slot.coming, None
            self._finish_reload()
        elif worker.ready_at is None:
            self._died_at_start(slot, worker.name, f"{_how(status)} at its start")
        else:
            self._died(slot, worker, status)

    def _died_at_start(self, slot: _Slot, name: str, how: str) -> None:
        slot.deaths_at_start += 1
        if self._developing:
            log.error("%s %s: waiting for a change", name, how)
            return
        serving = any(one.ready_at is not None for one in self._workers())
        if slot.deaths_at_start >= _DEATHS_AT_START and not serving:
            times = f"{slot.deaths_at_start} times in a row"
            self._give_up(WorkerError(f"{name} {how}, {times}"))
            return
        delay = self._delay(slot)
        log.error("%s %s: again in %.1f s", name, how, delay)
        self._restart(slot, delay)

    def _died(self, slot: _Slot, worker: _Worker, status: int) -> None:
        now = self._clock.time()
        assert worker.ready_at is not None
        served = now - worker.ready_at
        if served >= _GOOD_LIFE_SECONDS:
            slot.backoff.reset()
            delay = 0.0
        else:
            delay = self._delay(slot)
        level = logging.INFO if status == 0 else logging.WARNING
        when = f"again in {delay:.1f} s" if delay else "started again"
        log.log(level, "%s %s after %.0f s: %s", worker.name, _how(status), served, when)
        self._restart(slot, delay)

    def _delay(self, slot: _Slot) -> float:
        now = self._clock.time()
        return slot.backoff.attempt(now, random.random()).retry_at - now

    # ------------------------------------------------------------------ reloading

    def _reload(self) -> None:
        """Start a worker beside each; when all of the new serve, the old are drained."""
        if self._stopping:
            return
        again = self._reloading is not None
        log.info("reloading%s", " once more, from the start" if again else "")
        self._dismiss_coming()
        self._reloading = self._clock.time()
        for slot in self._slots:
            if slot.serving is None:
                slot.deaths_at_start = 0
                self._start(slot)
            elif slot.serving.ready_at is None:
                # It began before the change, and nobody uses it yet.
                self._dismiss(slot.serving)
                self._start(slot)
            else:
                try:
                    slot.coming = self._launch_worker(slot)
                except OSError as error:
                    log.error("no worker can be started, the reload is given up: %s", error)
                    self._abandon_reload()
                    return

    def _finish_reload(self) -> None:
        if self._reloading is None or not all(
            one is None or one.ready_at is not None
            for slot in self._slots
            for one in (slot.coming, slot.serving)
        ):
            return
        for slot in self._slots:
            if slot.coming is not None and slot.serving is not None:
                old, slot.serving, slot.coming = slot.serving, slot.coming, None
                self._retire(old)
        log.info("reloaded in %.2f s", self._clock.time() - self._reloading)
        self._reloading = None
        self._announced = True

    def _abandon_reload(self) -> None:
        self._reloading = None
        self._dismiss_coming()

    def _dismiss_coming(self) -> None:
        for slot in self._slots:
            if slot.coming is not None:
                self._dismiss(slot.coming)
                slot.coming = None

    def _dismiss(self, worker: _Worker) -> None:
        self._leaving.append(worker)
        self._drain(worker)

    # ------------------------------------------------------------------ ending

    def _give_up(self, error: WorkerError) -> None:
        if self._error is None:
            self._error = error
        if not self._stopping:
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for address in self._addresses:
            # First: nobody is to wait for workers that will not come.
            address.close()
        for slot in self._slots:
            slot.start_at = math.inf
            self._leaving += (one for one in (slot.serving, slot.coming) if one is not None)
            slot.serving = slot.coming = None
        for worker in self._leaving:
            self._drain(worker)

    def _retire(self, worker: _Worker) -> None:
        """Another has taken its place."""
        self._leaving.append(worker)
        now = self._clock.time()
        worker.child.tell({"leave": self._linger})
        worker.kill_at = now + self._linger + worker.grace + _END_SECONDS
        if self._developing:
            worker.hurry_at = now + 1.0

    def _drain(self, worker: _Worker) -> None:
        worker.child.signal(signal.SIGTERM)
        seconds = worker.grace + _END_SECONDS
        worker.kill_at = min(worker.kill_at, self._clock.time() + seconds)

    def _hurry(self, worker: _Worker) -> None:
        worker.hurry_at = math.inf
        worker.child.tell({"stop": "at once"})
        worker.kill_at = min(worker.kill_at, self._clock.time() + _END_SECONDS)


def supervise(
    launch: Launcher,
    addresses: Iterable[HeldSockets],
    workers: int,
    *,
    children: Children,
    linger: float = LINGER_SECONDS,
    developing: bool = False,
) -> None:
    """Run so many workers on these addresses until SIGINT or SIGTERM. Raises WorkerError."""
    held = list(addresses)
    try:
        with children:
            Supervisor(children, launch, held, workers, linger=linger, developing=developing).run()
    finally:
        for address in held:
            address.close()


def check_workers(workers: int) -> int:
    """A number of workers. Raises TypeError and ValueError."""
    return check_int("workers", workers, 1, MOST_WORKERS)


def _counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
