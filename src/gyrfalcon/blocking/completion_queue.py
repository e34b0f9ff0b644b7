"""The completion queue: many operations under way, one place to wait for whichever is done."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator
from itertools import repeat
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from typing import Any, Generic, Self, TypeVar

from ..rpc.errors import RpcError
from ..rpc.options import check_seconds

T = TypeVar("T")


class Operation(enum.Enum):
    """What an event tells the end of."""

    START = "start"
    """A call with streams was started: it is on its way to a connection."""
    READ = "read"
    """One message was read."""
    WRITE = "write"
    """One message was taken for sending, and there is room for the next."""
    DONE_SENDING = "done sending"
    """The client's stream was half-closed."""
    FINISH = "finish"
    """A client's call is over, with its reply where there is one; a server's answer was handed to
    the connection."""
    REQUEST_CALL = "request call"
    """A call came in for a server that asked for one."""
    DONE = "done"
    """A server's call is over; the result says whether it was cancelled."""
    ALARM = "alarm"
    """Something of the program's own, which it put there by `complete`."""


class Event(Generic[T]):
    """One operation that is done. Immutable; may be passed between threads.

    Attributes:
        tag: the object that the operation was started with.
        operation: what was done.
        ok: whether `result()` has what was asked for: False for an operation that failed, and for
            a read at the end of the stream.
        call: the call that it belongs to, None for an alarm.
    """

    __slots__ = ("_error", "_value", "call", "ok", "operation", "tag")

    tag: Any
    operation: Operation
    ok: bool
    call: Any

    def __init__(
        self,
        tag: object,
        operation: Operation = Operation.ALARM,
        *,
        call: object = None,
        value: T | None = None,
        error: RpcError | None = None,
        ok: bool | None = None,
    ) -> None:
        self.tag = tag
        self.operation = operation
        self.call = call
        self.ok = error is None if ok is None else ok
        self._value = value
        self._error = error

    def result(self) -> T:
        """What came of it; raises the RpcError that the operation ended with.

        None for operations without a result, and for a read at the end of the stream.
        """
        if self._error is not None:
            # The same error may be asked for by many threads: each sees its own way to it.
            raise self._error.with_traceback(None)
        return self._value  # type: ignore[return-value]

    def __repr__(self) -> str:
        outcome = f"error={self._error!r}" if self._error is not None else f"ok={self.ok}"
        return f"<Event {self.operation.name} tag={self.tag!r} {outcome}>"


class CompletionQueue:
    """Where operations are reported that were started with `queue=` and `tag=`, as they end.

    Any number of threads may start operations and any number may take events; every event goes
    to one of them. Leaving a `with` block shuts the queue down and takes what is still to come.
    """

    # Nothing here takes a lock, so that a signal handler or a finalizer that runs in the midst of
    # these functions may call them again.

    def __init__(self) -> None:
        self._events: SimpleQueue[Event[Any] | None] = SimpleQueue()
        # One entry for each operation under way: deque counts atomically.
        self._under_way: deque[None] = deque()
        self._shut = False

    # ------------------------------------------------------------------ taking events

    def next(self, timeout: float | None = None) -> Event[Any] | None:
        """Take the next event, waiting for it; None when the queue is shut down and empty.

        Raises TimeoutError after `timeout` seconds (0: do not wait).
        """
        if timeout is not None:
            timeout = min(check_seconds("timeout", timeout), TIMEOUT_MAX)
        try:
            event = self._events.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"no operation ended within {timeout:g} seconds") from None
        if event is None:
            # For whoever else waits, and whoever asks again.
            self._events.put(None)
        return event

    def __iter__(self) -> Iterator[Event[Any]]:
        """The events, until the queue is shut down and empty."""
        return iter(self.next, None)

    # ------------------------------------------------------------------ the end

    def shutdown(self) -> None:
        """Take no new operations on: from now on they raise RuntimeError.

        Those under way are still delivered; after them `next` returns None and iterations end.
        Returns at once; may be called again.
        """
        self._shut = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._shut and not self._under_way:
            self._events.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.shutdown()
        if kind is None:
            for _ in self:
                pass

    # ------------------------------------------------------------------ for those who complete

    def reserve(self, n: int = 1) -> None:
        """Count `n` operations as under way; each has to be completed by one event.

        Raises RuntimeError when the queue was shut down.
        """
        # In this order: shutdown() sets its mark first and looks for operations then, so one of the
        # two sees the other.
        self._under_way.extend(repeat(None, n))
        if self._shut:
            for _ in range(n):
                self._under_way.pop()
            self._end_if_idle()
            raise RuntimeError(
                "this completion queue was shut down: it takes no new operations; shut it down "
                "after the last one was started"
            )

    def release(self) -> None:
        """Take back one `reserve`: the operation could not be started."""
        self._under_way.pop()
        self._end_if_idle()

    def complete(self, event: Event[Any]) -> None:
        """Deliver the event of an operation that was counted by `reserve`, from any thread.

        Never waits; wakes one of those who wait for events. Raises RuntimeError when nothing is
        under way.
        """
        if not self._under_way:
            raise RuntimeError(f"{event!r} was not reserved: call reserve() when it is started")
        self._events.put(event)
        self._under_way.pop()
        if self._shut:
            self._end_if_idle()

    def __repr__(self) -> str:
        state = "shut down" if self._shut else "open"
        # The mark of the end is no event, but it is counted: this is for people.
        return (
            f"<CompletionQueue {state}, {len(self._under_way)} under way, "
            f"{self._events.qsize()} to be taken>"
        )
