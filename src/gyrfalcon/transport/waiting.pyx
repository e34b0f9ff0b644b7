"""Waiting for a call to get further: one kind of awaitable for every step of it.

A call says through `poll` whether a step can be finished now and through `finish` how it ends; an
`Operation` is that step as an awaitable. When the step cannot be finished at once its task waits
for a `Parking`, which has what asyncio's tasks ask of a future. The connection's events wake it,
and where they come from the loop itself the task goes on right there, without another turn of the
loop.
"""
import asyncio
from contextvars import copy_context

cimport cython

from .._core.python cimport PyContext_Enter, PyContext_Exit
from ..wire.exchange cimport Exchange
from ..wire.inflation cimport Inflation
from .driver cimport Driver


cdef extern from "sched.h":
    int sched_yield()


cdef object take_inflated(Inflation inflation):
    """A message, or its RpcError. What is left of it is inflated; other threads have the processor
    between its parts, even where there is only one."""
    while not inflation.done:
        inflation.advance()
        if not inflation.done:
            sched_yield()
    return inflation.take()


cdef class Waiting(Exchange):
    """A call that can be waited for."""

    cdef int poll(self, Operation operation) except -1:
        """Whether the step can be finished now."""
        raise AssertionError("a call polls its steps")

    cdef object finish(self, Operation operation):
        """The step's result, or its exception."""
        raise AssertionError("a call finishes its steps")

    cdef int abandon(self, Operation operation) except -1:
        """Whoever waited for the step was cancelled."""
        return 0

    cdef bint run_errand(self) except -1:
        """On a loop that threads share: run what of the call may wait, and is to be run by a thread
        that leaves the loop to others meanwhile. Whether there was something."""
        return False

    cdef int pass_errand_on(self) except -1:
        """The thread that was woken for that will not do it."""
        return 0

    cdef int wake(self) except -1:
        """Wake those whose step can be finished now."""
        cdef Operation operation
        cdef Parking parking
        cdef list still, waiting, woken
        waiting = self.operations
        if not waiting:
            return 0
        if len(waiting) == 1:
            operation = waiting[0]
            if self.poll(operation):
                self.operations = None
                parking = operation.parking
                parking.fire()
            return 0
        still = []
        woken = []
        for operation in waiting:
            if self.poll(operation):
                woken.append(operation.parking)
            else:
                still.append(operation)
        # Before any of them runs: what it does may wake, or add to, what is left.
        self.operations = still
        for parking in woken:
            parking.fire()
        return 0

    cdef Inflation begin_message(self):
        """The inflation of the message that waits; None when it is not compressed."""
        raise AssertionError("a call knows its messages")

    cdef bint opens_message(self) except -1:
        """Whether the message that waits can be taken now. A compressed one is inflated first, and
        what of that is too much for a turn of the loop is done in the next ones."""
        cdef Driver io = self.io
        if io is None or not io.takes_turns:
            return True
        if self.inflation is None:
            self.inflation = self.begin_message()
            if self.inflation is None:
                return True
        while not self.inflation.done:
            if io.spent:
                if not self.is_put_off:
                    self.is_put_off = True
                    io.put_off_until_next_turn(self)
                return False
            io.note_inflated(self.inflation.advance())
        return True

    def _begin_turn(self):
        """The loop has turned."""
        self.is_put_off = False
        self.wake()

    cdef Operation operation(self, int kind, object payload):
        cdef Operation made = Operation.__new__(Operation)
        made.call = self
        made.kind = kind
        made.payload = payload
        return made


@cython.freelist(64)
cdef class Operation:
    """One step of a call; await it, once, in the call's own loop."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.step()

    def send(self, value):
        """The coroutine protocol: go on."""
        return self.step()

    cdef object step(self):
        if self.over:
            raise RuntimeError("this step of the call was awaited already")
        if self.call.poll(self):
            self.over = True
            self.leave()
            value = self.call.finish(self)
            raise StopIteration(value)
        # Not parked yet, or woken and overtaken by another waiter before it ran.
        self.leave()
        self.parking = Parking.__new__(Parking)
        self.parking.operation = self
        self.parking._asyncio_future_blocking = True
        if self.call.operations is None:
            self.call.operations = [self]
        else:
            self.call.operations.append(self)
        return self.parking

    cdef int leave(self) except -1:
        """Nobody waits for it now."""
        if self.parking is not None:
            self.parking = None
            if self.call.operations and self in self.call.operations:
                self.call.operations.remove(self)
        return 0

    def throw(self, kind, value=None, traceback=None):
        """The coroutine protocol: the task that waits was cancelled (or got another exception)."""
        if not self.over:
            self.over = True
            self.leave()
            self.call.abandon(self)
        if value is None:
            raise kind
        if not isinstance(value, BaseException):
            value = kind(value)
        raise value

    def close(self):
        """The coroutine protocol: nobody waits any longer."""
        if not self.over:
            self.over = True
            if self.parking is not None:
                self.leave()
                self.call.abandon(self)


@cython.freelist(64)
cdef class Parking:
    """What a task waits for: as much of a future as asyncio's tasks use."""

    cdef int fire(self) except -1:
        """Let the task go on (its operation is out of the call's list already)."""
        cdef Driver io
        cdef Waiting call = self.operation.call
        if self.ended:
            return 0
        self.ended = True
        if self.callback is None:
            return 0
        callback, self.callback = self.callback, None
        io = call.io
        if io is None or not io.may_run_tasks():
            call.loop.call_soon(callback, self, context=self.context)
            return 0
        io.runs_tasks = False
        PyContext_Enter(self.context)
        try:
            callback(self)
        finally:
            PyContext_Exit(self.context)
            io.runs_tasks = True
        return 0

    def get_loop(self):
        """The loop it belongs to."""
        return self.operation.call.loop

    def add_done_callback(self, callback, *, context=None):
        """Have the task called when the step can be finished."""
        if self.ended:
            self.operation.call.loop.call_soon(callback, self, context=context)
        else:
            self.callback = callback
            self.context = copy_context() if context is None else context

    def remove_done_callback(self, callback):
        """The task does not wait any longer."""
        if self.callback is None:
            return 0
        self.callback = None
        return 1

    def done(self):
        """Whether the wait is over."""
        return self.ended

    def cancelled(self):
        """Whether the wait was cancelled."""
        return self.stopped

    def cancel(self, msg=None):
        """End the wait with CancelledError."""
        if self.ended:
            return False
        self.ended = True
        self.stopped = True
        self.stop_message = msg
        operations = self.operation.call.operations
        if operations and self.operation in operations:
            operations.remove(self.operation)
        if self.callback is not None:
            callback, self.callback = self.callback, None
            self.operation.call.loop.call_soon(callback, self, context=self.context)
        return True

    def result(self):
        """None; raises CancelledError when the wait was cancelled."""
        if self.stopped:
            if self.stop_message is None:
                raise asyncio.CancelledError
            raise asyncio.CancelledError(self.stop_message)

    def exception(self):
        """As `result`."""
        self.result()
