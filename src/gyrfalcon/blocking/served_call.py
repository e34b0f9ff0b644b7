"""A call of a QueueServer as the server's loop has it: its handler does what threads ask for.

All of it belongs to the loop's thread, until the server has stopped: then every call is over, and
what is still asked for fails wherever it is asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from weakref import ref

from ..rpc.errors import Cancelled, DeadlineExceeded, RpcError
from ..rpc.metadata import Metadata
from ..server.call import ServerContext
from .completion_queue import CompletionQueue, Event, Operation

if TYPE_CHECKING:
    from .lines import Line
    from .queue_call import QueueCall


class Ticket:
    """An operation under way: where its event goes, and what it says."""

    __slots__ = ("call", "operation", "queue", "tag")

    def __init__(
        self,
        queue: CompletionQueue,
        operation: Operation,
        tag: object,
        call: QueueCall[Any, Any] | None,
    ) -> None:
        self.queue = queue
        self.operation = operation
        self.tag = tag
        self.call = call

    def complete(
        self, value: object = None, *, error: RpcError | None = None, ok: bool | None = None
    ) -> None:
        """Deliver the event."""
        if self.call is not None:
            if self.operation is Operation.READ:
                self.call.reading = False
            elif self.operation is Operation.WRITE:
                self.call.writing = False
        self.queue.complete(
            Event(self.tag, self.operation, call=self.call, value=value, error=error, ok=ok)
        )


class Step:
    """Something that the handler does in its turn: send a reply, or end the call."""

    __slots__ = ("compress", "error", "last", "message", "ticket")

    def __init__(
        self,
        ticket: Ticket | None,
        message: object = None,
        *,
        last: bool = False,
        error: Exception | None = None,
        compress: bool = True,
    ) -> None:
        self.ticket = ticket
        self.compress = compress
        self.message = message
        self.last = last
        self.error = error


class ServedCall:
    """One call, from its arrival to its end."""

    def __init__(self, line: Line, request: Any, ctx: ServerContext) -> None:
        self.line = line
        self.request = request
        self.ctx = ctx
        self.over = False
        self._loop = asyncio.get_running_loop()
        # Whoever has the handle ends the call. When nobody has it any more it ends the call itself.
        self._handle: ref[QueueCall[Any, Any]] | None = None
        self._steps: deque[Step] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writing: Ticket | None = None
        self._concluding: Step | None = None
        self._reading: Ticket | None = None
        self._read: Any = None
        self._done: list[Ticket] = []

    def give(self, call: QueueCall[Any, Any]) -> None:
        """Somebody asked for a call, and this is it."""
        self._handle = ref(call)

    # ------------------------------------------------------------------ what threads ask for

    def do(self, step: Step) -> None:
        """Send a reply or end the call, in turn."""
        if self.over:
            if step.ticket is not None:
                step.ticket.complete(error=self._failure())
            return
        self._steps.append(step)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def read(self, ticket: Ticket) -> None:
        """Take the next request message."""
        if self.over:
            ticket.complete(error=self._failure())
            return
        self._reading = ticket
        self._read = self.request.__anext__()
        self._go_on_reading()

    def put_head(self, metadata: Metadata) -> None:
        """Send the head of the response."""
        if self.over:
            return
        try:
            self.ctx._put_head(metadata)
        except Exception as error:
            self._fail(error)

    def notify(self, ticket: Ticket) -> None:
        """Tell when the call is over."""
        if self.over:
            ticket.complete(self._cut_short())
        else:
            # It must not keep the handle: nobody could drop the call then.
            ticket.call = None
            self._done.append(ticket)

    def drop(self) -> None:
        """Nobody has the call any more, and nobody ended it."""
        self._fail(RuntimeError(f"a call of {self.line.method.path} was dropped unfinished"))

    def _fail(self, error: Exception) -> None:
        if not self.over:
            # Before what waits for its turn: that fails when the handler has ended.
            self._steps.appendleft(Step(None, last=True, error=error))
            self._wake()

    # ------------------------------------------------------------------ reading

    def _go_on_reading(self, _parking: object = None) -> None:
        """Drive the step of the request stream, as a task would."""
        if self._read is None:
            return
        try:
            parking = self._read.send(None)
        except StopIteration as stop:
            self._read_ended().complete(stop.value)
        except StopAsyncIteration:
            self._read_ended().complete(ok=False)
        except RpcError as error:
            self._read_ended().complete(error=error)
            # A message that cannot be read is the client's fault, and ends the call as it would in
            # a handler: whoever looks at `ok` alone would take it for the end of the stream.
            self._fail(error)
        else:
            parking.add_done_callback(self._go_on_reading)

    def _read_ended(self) -> Ticket:
        ticket = self._reading
        assert ticket is not None
        self._reading = self._read = None
        return ticket

    # ------------------------------------------------------------------ the handler

    async def next_step(self) -> Step:
        """Wait for what is to be done next."""
        while not self._steps:
            self._waiter = self._loop.create_future()
            await self._waiter
        step = self._steps.popleft()
        self.ctx.compress = step.compress
        if step.last:
            self._concluding = step
            if step.error is not None:
                raise step.error
        else:
            self._writing = step.ticket
        return step

    def written(self) -> None:
        """The reply was taken, and there is room for another."""
        ticket, self._writing = self._writing, None
        if ticket is not None:
            ticket.complete()

    def end(self) -> None:
        """The handler returns: the call is answered, or was cancelled."""
        self.over = True
        self.line.leave(self)
        if self._writing is not None:
            self._writing.complete(error=self._failure())
        if self._reading is not None:
            self._read.close()
            self._read_ended().complete(error=self._failure())
        for step in self._steps:
            if step.ticket is not None:
                step.ticket.complete(error=self._failure())
        self._steps.clear()
        if self._concluding is None or self._loop.is_closed():
            self._tell_end()
        else:
            # What the handler returns is on its way to the client only after this.
            self._loop.call_soon(self._tell_end)

    def _tell_end(self) -> None:
        step = self._concluding
        if step is not None and step.ticket is not None:
            step.ticket.complete(error=self._failure() if self.ctx.cancelled else None)
        for ticket in self._done:
            ticket.call = None if self._handle is None else self._handle()
            ticket.complete(self._cut_short())
        self._done.clear()

    def _cut_short(self) -> bool:
        """Whether the call ended before it was finished, or nobody heard that it was."""
        return self._concluding is None or self.ctx.cancelled

    def _failure(self) -> RpcError:
        """Why nothing more can be done with the call."""
        if self.ctx.cancelled and self.ctx.time_remaining() == 0:
            return DeadlineExceeded("the deadline of the call passed")
        if self.ctx.cancelled:
            return Cancelled("the call was cancelled, or its client is gone")
        return Cancelled("the call is over")


async def answer_one(line: Line, request: Any, ctx: ServerContext) -> Any:
    """The handler of methods with one reply."""
    served = ServedCall(line, request, ctx)
    try:
        line.arrive(served)
        return (await served.next_step()).message
    finally:
        served.end()


async def answer_many(line: Line, request: Any, ctx: ServerContext) -> AsyncIterator[Any]:
    """The handler of methods with many replies."""
    served = ServedCall(line, request, ctx)
    try:
        line.arrive(served)
        while True:
            step = await served.next_step()
            if not step.last or step.message is not None:
                yield step.message
            if step.last:
                return
            served.written()
    finally:
        served.end()
