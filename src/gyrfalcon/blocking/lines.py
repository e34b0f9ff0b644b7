"""Where the calls of a QueueServer meet the threads that ask for them."""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVarTuple

from ..rpc.errors import Cancelled, ResourceExhausted
from ..rpc.method import Method, Service, ServiceDefinition
from ..transport.loops import LoopThread
from .completion_queue import CompletionQueue, Operation
from .queue_call import QueueCall
from .served_call import ServedCall, Ticket, answer_many, answer_one

Ts = TypeVarTuple("Ts")


class Request(Ticket):
    """A thread's wish for the next call, and the queue for what it does with it."""

    __slots__ = ("call_queue",)

    def __init__(self, queue: CompletionQueue, call_queue: CompletionQueue, tag: object) -> None:
        super().__init__(queue, Operation.REQUEST_CALL, tag, None)
        self.call_queue = call_queue


class Line:
    """The calls of one method and the threads that ask for them, each side in order.

    It belongs to the loop's thread, but for `ask` and `close`.
    """

    def __init__(self, lines: Lines, method: Method[Any, Any]) -> None:
        self.method = method
        self._lines = lines
        self._arrived: OrderedDict[ServedCall, None] = OrderedDict()
        self._asked: deque[Request] = deque()
        self._closed = False

    def ask(self, request: Request) -> None:
        """Give the next call to this one who asks (any thread). Calls that come from now on find
        it, whenever the loop hears of it."""
        self._asked.append(request)
        self._lines.put(self._match)

    def _match(self) -> None:
        """Give calls that wait to those who ask."""
        if self._closed:
            self.close()
        while self._arrived and self._asked:
            served, _ = self._arrived.popitem(last=False)
            if served.ctx.cancelled:
                continue  # its handler has not heard of it yet
            if (request := self._next_request()) is None:
                # The line was closed meanwhile.
                return
            self._give(served, request)

    def _next_request(self) -> Request | None:
        try:
            return self._asked.popleft()
        except IndexError:
            return None

    def arrive(self, served: ServedCall) -> None:
        """Give this call to who asked first, or let it wait. Raises ResourceExhausted."""
        self._match()
        request = self._next_request()
        if request is not None:
            self._give(served, request)
            return
        limit = self._lines.max_waiting_calls
        if len(self._arrived) >= limit:
            # Those whose client is gone leave when their handlers have heard of it.
            for one in [one for one in self._arrived if one.ctx.cancelled]:
                self.leave(one)
        if len(self._arrived) >= limit:
            served.ctx._count_limit("max_waiting_calls")
            raise ResourceExhausted(
                f"{self.method.path}: {limit} calls wait to be asked for already"
                " (max_waiting_calls)"
            )
        self._arrived[served] = None

    def leave(self, served: ServedCall) -> None:
        """This call does not wait any longer."""
        self._arrived.pop(served, None)

    def _give(self, served: ServedCall, request: Request) -> None:
        call: QueueCall[Any, Any] = QueueCall(served, self.method, request.call_queue, self._lines)
        served.give(call)
        request.call = call
        request.complete(call)

    def close(self) -> None:
        """No call will come any more (any thread: deque gives each request out once)."""
        self._closed = True
        while True:
            try:
                request = self._asked.popleft()
            except IndexError:
                return
            request.complete(error=Cancelled("the server was stopped"))


class Lines:
    """The lines of a server's methods, and the way to its loop. It knows no server: calls know it,
    and must not keep a server that was forgotten."""

    def __init__(self, max_waiting_calls: int) -> None:
        self.max_waiting_calls = max_waiting_calls
        self.thread: LoopThread | None = None
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
            line = Line(self, method)
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

    def reserve(self, queue: CompletionQueue) -> bool:
        """Count an operation; False when the server and the queue have ended. RuntimeError when
        the queue alone has."""
        try:
            queue.reserve()
        except RuntimeError:
            if not self._closed:
                raise
            # So that threads which go on for a moment after both were ended come to no harm.
            return False
        return True

    def put(self, function: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Have a function called on the server's loop; here, when there never was one."""
        inbox = None if self.thread is None else self.thread.inbox
        if inbox is None:
            function(*arguments)
        else:
            inbox.put(function, *arguments)

    def close(self) -> None:
        """No call will come any more (on the loop, as the last that happens there)."""
        self._closed = True
        for line in self._lines.values():
            line.close()
        if self.thread is not None and self.thread.inbox is not None:
            self.thread.inbox.close()
