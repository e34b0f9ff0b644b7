"""The server side of the completion queue: threads ask for calls, and answer them step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Unpack

from ..rpc.method import Method, Service, ServiceDefinition
from ..rpc.options import check_int
from .completion_queue import CompletionQueue
from .lines import Lines, Request
from .server import Server, ServerOptions


class QueueServer(Server):
    """A server whose calls are asked for, one by one, and answered through completion queues.

    `services` are generated `...Service` classes (the classes, not instances) or
    `ServiceDefinition`s: their methods are answered through queues. Instances of services may
    stand among them, and have their handlers called as in `Server`.

    A call that comes before it was asked for waits, in order, up to `max_waiting_calls` (1,000) of
    one method; more end with RESOURCE_EXHAUSTED. As many calls of `def` handlers, where there are
    any, wait for a thread. The other options are those of `gyr.Server`; so are the errors for what
    cannot be served.

    Starting, stopping and threads are as in `Server`. When the server has stopped, requests
    for calls that did not come complete with events that are not ok.
    """

    def __init__(
        self,
        services: Iterable[type[Service] | ServiceDefinition | Service],
        **options: Unpack[ServerOptions],
    ) -> None:
        waiting = check_int("max_waiting_calls", options.setdefault("max_waiting_calls", 1000), 0)
        self._lines = Lines(waiting)
        super().__init__(self._lines.collect(services), **options)
        self._lines.thread = self._thread
        self._at_end = self._lines.close

    def request_call(
        self,
        method: Method[Any, Any] | Callable[..., Any],
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> None:
        """Ask for the next call of a method: `GreeterService.say_hello`, or its `gyr.Method`.

        The event comes to `queue`, and its result is the QueueCall. What is done with that is
        reported to `call_queue` (None: `queue`). When the server has stopped the event is not ok.

        May be called before `listen`, and from any thread. Raises ValueError for a method that is
        not served through queues, RuntimeError for a queue that was shut down while the server runs
        (of a stopped server such requests are dropped, there is nothing to tell).
        """
        line = self._lines.find(method)
        if not self._thread.started:
            try:
                self._open()
            except RuntimeError:
                if not self._stopped:
                    raise
        if self._lines.reserve(queue):
            steps = queue if call_queue is None else call_queue
            line.ask(Request(queue, steps, tag))
