"""Processes that a supervisor starts, the signals it gets, and the line between the two."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple, Protocol

# Of one message between supervisor and worker, in bytes: an error's text, at most.
_MOST_BYTES = 64 * 2**10
_PASSED_ON = (signal.SIGUSR1, signal.SIGUSR2)
_HEARD = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGCHLD,
    *_PASSED_ON,
)


class Process(Protocol):
    """A process that was started; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    def poll(self) -> int | None:
        """How it ended: its exit status, or minus the signal; None while it runs."""
        ...

    def send_signal(self, sig: int) -> None:
        """Signal it, unless it has ended."""
        ...


class Launcher(Protocol):
    """What starts a worker's process."""

    def __call__(self, handover: dict[str, Any], descriptors: Sequence[int]) -> Process:
        """Start a process that is handed these descriptors, and told this."""
        ...


class Child:
    """A process and the line to it."""

    def __init__(self, number: int, process: Process, line: socket.socket) -> None:
        self.number = number
        self.process = process
        self._line = line
        self._received = b""
        self.at_end = False
        """Whether nothing more will come from its line."""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.process.pid

    def fileno(self) -> int:
        """The descriptor of its line."""
        return self._line.fileno()

    def receive(self) -> list[dict[str, Any]]:
        """The messages that came."""
        try:
            data = self._line.recv(_MOST_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        self.at_end = not data or len(self._received) > _MOST_BYTES
        return [json.loads(line) for line in lines]

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; nothing happens when the process is gone."""
        with contextlib.suppress(OSError):
            self._line.send(_encode(message))

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def close(self) -> None:
        """Close the line."""
        self._line.close()


class Signalled(NamedTuple):
    """This process got a signal."""

    number: int


class Told(NamedTuple):
    """A child sent a message."""

    child: Child
    message: dict[str, Any]


class Ended(NamedTuple):
    """A child's process is gone; `status` as `Process.poll` has it."""

    child: Child
    status: int


Event = Signalled | Told | Ended


class Children:
    """The processes of a supervisor. Use it in a `with` block, in the main thread: inside, the
    signals that a supervisor hears come out of `wait` and do nothing else."""

    def __init__(self) -> None:
        self._signals: deque[int] = deque()
        self._children: list[Child] = []
        self._selector: selectors.BaseSelector | None = None
        self._handlers: dict[int, Any] = {}
        self._newest: socket.socket

    def __enter__(self) -> Children:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("workers are supervised from the main thread, which gets signals")
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in _HEARD:
            self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        """Those that are left are killed."""
        for child in self._children:
            child.signal(signal.SIGKILL)
        self._leave()
        for child in self._children:
            _wait(child.process)
        self._children = []

    def _leave(self) -> None:
        for number, handler in self._handlers.items():
            # None: not set by Python, and so not to be set again by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._handlers.clear()
        signal.set_wakeup_fd(self._wakeup_before)
        if self._selector is not None:
            self._selector.close()
        self._woken.close()
        self._waker.close()
        for child in self._children:
            child.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def start(
        self,
        launch: Launcher,
        number: int,
        handover: dict[str, Any],
        descriptors: Sequence[int],
    ) -> Child:
        """Start a process with a line of its own. Raises what `launch` raises."""
        assert self._selector is not None
        line, end = socket.socketpair()
        self._newest = line
        told = {"number": number, "line": end.fileno(), **handover}
        try:
            with _held_signals():
                process = launch(told, (end.fileno(), *descriptors))
        except BaseException:
            line.close()
            raise
        finally:
            end.close()
        line.setblocking(False)
        child = Child(number, process, line)
        self._children.append(child)
        self._selector.register(child, selectors.EVENT_READ)
        return child

    def forget(self) -> None:
        """In a forked process: let go of all that belongs to the parent."""
        self._leave()
        self._newest.close()
        self._children = []

    def wait(self, timeout: float | None) -> Iterator[Event]:
        """What happened, as soon as something has, or nothing after `timeout` seconds."""
        assert self._selector is not None
        ready = [] if self._signals else self._selector.select(timeout)
        for key, _ in ready:
            if key.fileobj is self._woken:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(4096)
                continue
            child = key.fileobj
            assert isinstance(child, Child)
            yield from self._hear(child)
        for _ in range(len(self._signals)):
            number = self._signals.popleft()
            if number != signal.SIGCHLD:
                yield Signalled(number)
        for child in list(self._children):
            status = child.process.poll()
            if status is not None:
                # What it said last was said before it ended.
                yield from self._hear(child)
                if not child.at_end:
                    self._selector.unregister(child)
                child.close()
                self._children.remove(child)
                yield Ended(child, status)

    def _hear(self, child: Child) -> Iterator[Event]:
        if child.at_end:
            return
        messages = child.receive()
        if child.at_end:
            assert self._selector is not None
            self._selector.unregister(child)
        for message in messages:
            yield Told(child, message)


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _wait(process: Process) -> None:
    if isinstance(process, subprocess.Popen):
        process.wait()
    else:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)


@contextlib.contextmanager
def _held_signals() -> Iterator[None]:
    """Signals wait, here and in a process that is started here, until it has handlers for them."""
    numbers = [number for number in _HEARD if number != signal.SIGCHLD]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------------- two ways to start one


class CommandLauncher:
    """Starts a program, with what it is told as its last argument."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)

    def __call__(self, handover: dict[str, Any], descriptors: Sequence[int]) -> Process:
        return subprocess.Popen([*self._command, json.dumps(handover)], pass_fds=descriptors)


class _Forked:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                # Somebody else has waited for it; how it ended is not known any more.
                self._status = 1
            else:
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


class ForkLauncher:
    """Forks: `main(handover)` runs in the child, which ends with it, without what the parent
    has registered with `atexit` and without leaving the blocks that the parent is in."""

    def __init__(self, main: Callable[[dict[str, Any]], None]) -> None:
        self._main = main

    def __call__(self, handover: dict[str, Any], descriptors: Sequence[int]) -> Process:
        for stream in (sys.stdout, sys.stderr):
            # Else the child would write it once more.
            if stream is not None:
                stream.flush()
        pid = os.fork()
        if pid:
            return _Forked(pid)
        status = 1
        try:
            self._main(handover)
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)


# ---------------------------------------------------------------------- in the worker's process


class WorkerLine:
    """A worker's end of the line to its supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._line = socket.socket(fileno=descriptor)
        self._line.set_inheritable(False)
        self._received = b""

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; nothing happens when the supervisor is gone."""
        with contextlib.suppress(OSError):
            self._line.sendall(_encode(message))

    def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        told: Callable[[dict[str, Any]], None],
        ended: Callable[[], None],
    ) -> None:
        """Have the loop call `told` with each message, and `ended` when the supervisor is gone."""
        self._line.setblocking(False)

        def receive() -> None:
            try:
                data = self._line.recv(_MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                loop.remove_reader(self._line.fileno())
                ended()
                return
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                told(json.loads(line))

        loop.add_reader(self._line.fileno(), receive)

    def deafen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen no more."""
        loop.remove_reader(self._line.fileno())

    def close(self) -> None:
        """Close it: the supervisor hears that."""
        self._line.close()


def take_signals() -> None:
    """In a new worker: let the signals come that were held when it was started.

    Those that a terminal sends to all of a program's processes are the supervisor's business; those
    that it passes on do nothing until the program says what. SIGTERM ends the process.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        # Not SIG_IGN, which the programs that a worker starts would inherit.
        signal.signal(number, _do_nothing)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in _PASSED_ON:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)


def _do_nothing(number: int, frame: FrameType | None) -> None: ...


def name_process(name: str) -> None:
    """Have `ps -o comm`, `top` and the like show a name (Linux; at most 15 characters)."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)
