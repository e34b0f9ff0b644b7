"""The server side of the completion queue: threads ask for calls, and answer them step by step."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar, Unpack, overload

from ..rpc.method import Method, Service, ServiceDefinition
from ..rpc.options import check_int
from ..server.call import RequestStream, ServerContext
from ..transport.loops import LoopThread
from .completion_queue import CompletionQueue, Operation
from .queue_call import QueueCall
from .served_call import Line, Ticket, answer_many, answer_one
from .server import Server, ServerOptions

Req = TypeVar("Req")
Res = TypeVar("Res")


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
        self._at_end = functools.partial(self._lines.close, self._thread)
        # Not a method: calls have it, and must not keep the server.
        self._put = functools.partial(_put, self._thread)

    @overload
    def request_call(
        self,
        method: Method[Req, Res],
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> QueueCall[Req, Res]: ...
    @overload
    def request_call(
        self,
        method: Callable[
            [Any, RequestStream[Req], ServerContext], AsyncIterator[Res] | Iterator[Res]
        ],
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> QueueCall[Req, Res]: ...
    @overload
    def request_call(
        self,
        method: Callable[[Any, RequestStream[Req], ServerContext], Awaitable[Res] | Res],
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> QueueCall[Req, Res]: ...
    @overload
    def request_call(
        self,
        method: Callable[[Any, Req, ServerContext], AsyncIterator[Res] | Iterator[Res]],
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> QueueCall[Req, Res]: ...
    @overload
    def request_call(
        self,
        method: Callable[[Any, Req, ServerContext], Awaitable[Res] | Res],
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> QueueCall[Req, Res]: ...
    def request_call(
        self,
        method: Any,
        *,
        queue: CompletionQueue,
        tag: object,
        call_queue: CompletionQueue | None = None,
    ) -> QueueCall[Any, Any]:
        """Ask for the next call of a method: `GreeterService.say_hello`, or its `gyr.Method`.

        The event comes to `queue` with the call as its result: the QueueCall that this returns,
        which is of no use before. What is done with the call is reported to `call_queue`
        (None: `queue`). After the server has stopped the event is not ok.

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
        lines, put = self._lines, self._put
        call: QueueCall[Any, Any] = QueueCall(
            line.method, queue if call_queue is None else call_queue, lines.take, put
        )
        ticket = lines.take(queue, Operation.REQUEST_CALL, tag, call)
        if ticket is not None:
            put(line.ask, ticket)
        return call


class Lines:
    """The lines of a server's methods. It knows no server, so that what it serves keeps none."""

    def __init__(self, max_waiting_calls: int) -> None:
        self._max_waiting_calls = max_waiting_calls
        self._lines: dict[Any, Line] = {}
        self._closed = False

    def collect(self, services: Any) -> list[Service]:
        """What a Server serves for these services."""
        if isinstance(services, type | Service) or not isinstance(services, Iterable):
            raise TypeError(f"a server takes a list of services: pass [{services!r}]")
        served: list[Any] = []  # what is no service at all is named by Server
        for service in services:
            if isinstance(service, ServiceDefinition):
                served.append(self._serve(service, None))
            elif isinstance(service, type) and "__gyr_service__" in service.__dict__:
                served.append(self._serve(service.__dict__["__gyr_service__"], service))
            elif isinstance(service, type) and hasattr(service, "__gyr_service__"):
                raise TypeError(
                    f"{service!r} derives from a generated ...Service class: pass the generated "
                    "class to answer its methods through queues, or an instance of this one to "
                    "have its handlers called"
                )
            else:
                served.append(service)
        return served

    def _serve(self, definition: ServiceDefinition, generated: type | None) -> Service:
        """A service whose handlers wait for what threads do."""
        service: Service = type("QueueService", (Service,), {"__gyr_service__": definition})()
        for method in definition.methods:
            line = Line(method, self._max_waiting_calls)
            answer = answer_many if method.pattern.server_streaming else answer_one
            service.__dict__[method.attribute] = functools.partial(answer, line)
            self._lines[method] = line
            if generated is not None:
                self._lines[getattr(generated, method.attribute)] = line
        return service

    def find(self, method: Any) -> Line:
        """The line of a method. Raises ValueError."""
        try:
            return self._lines[method]
        except (KeyError, TypeError):
            known = ", ".join(one.path for one in self._lines if isinstance(one, Method))
            raise ValueError(
                f"request_call({method!r}): this server answers no such method through queues; it "
                f"has {known or 'none'}; pass a generated class's method, as in "
                "GreeterService.say_hello, or a gyr.Method"
            ) from None

    def take(
        self, queue: CompletionQueue, operation: Operation, tag: object, call: Any
    ) -> Ticket | None:
        """Count an operation; None when the server and the queue have ended. RuntimeError when the
        queue alone has."""
        try:
            queue.reserve()
        except RuntimeError:
            if self._closed:
                # So that threads which go on for a moment after both were ended come to no harm.
                return None
            raise
        return Ticket(queue, operation, tag, call)

    def close(self, thread: LoopThread) -> None:
        """No call will come any more (on the loop, as the last that happens there)."""
        self._closed = True
        for line in self._lines.values():
            line.close()
        if thread.inbox is not None:
            thread.inbox.close()


def _put(thread: LoopThread, function: Callable[..., object], *arguments: object) -> None:
    """Have a function called on the server's loop; here, when there never was one."""
    if thread.inbox is None:
        function(*arguments)
    else:
        thread.inbox.put(function, *arguments)
