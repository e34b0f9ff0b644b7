"""Callback handlers: they are handed a `finish`, and whoever has it ends the call, at any time."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, overload

from ..rpc.functions import is_async_function
from ..rpc.method import Pattern
from ..server.call import ServerContext
from ..transport.loops import Inbox

log = logging.getLogger("gyrfalcon.server")

Owner = TypeVar("Owner")
Req = TypeVar("Req")
Res = TypeVar("Res")
Res_contra = TypeVar("Res_contra", contravariant=True)


def callback(
    function: Callable[[Owner, Req, ServerContext, Finish[Res]], None],
) -> Callable[[Owner, Req, ServerContext], Coroutine[Any, Any, Res]]:
    """Make a handler of a method `def name(self, request, ctx, finish)`.

    It is called on the server's event loop and must not block there: it hands `finish` to whoever
    knows the reply later, and returns None. For methods with one request and one reply; where
    another is served with it, making the server raises TypeError, as this does for what is no such
    function.
    """
    _check(function)

    async def handler(owner: Owner, request: Req, ctx: ServerContext) -> Res:
        waiting: _Waiting[Res] = _Waiting(ctx.method)
        _start(waiting, functools.partial(function, owner, request, ctx))
        try:
            return await waiting.future
        finally:
            waiting.end()

    for name in functools.WRAPPER_ASSIGNMENTS:
        # Not functools.wraps: a server looks through it for what is called, and would find a
        # function that blocks.
        if hasattr(function, name):
            setattr(handler, name, getattr(function, name))
    handler.__gyr_pattern__ = Pattern.UNARY_UNARY  # type: ignore[attr-defined]
    return handler


def _check(function: Any) -> None:
    what = "a callback handler is `def name(self, request, ctx, finish)`"
    if not callable(function):
        raise TypeError(f"{function!r} is no function: {what}")
    if is_async_function(function):
        raise TypeError(f"{function!r} is `async def`: {what}; await things in a plain handler")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{function!r} yields: {what}, which ends its call with finish(reply)")
    try:
        inspect.signature(function).bind(None, None, None, None)
    except TypeError as error:
        raise TypeError(f"{function!r} cannot be called so ({error}): {what}") from None


def _start(waiting: _Waiting[Any], call: Callable[[Finish[Any]], object]) -> None:
    """Call the handler's function. When it returns, nothing of ours holds its `finish`."""
    finish: Finish[Any] = Finish(waiting)
    try:
        returned = call(finish)
    except BaseException:
        if finish._take():
            raise
        log.exception("%s: the handler failed after it was handed on", waiting.method)
        return
    if returned is not None and finish._take():
        if inspect.iscoroutine(returned):
            returned.close()
        raise TypeError(
            f"the callback handler of {waiting.method} returned {returned!r}: it returns None and "
            "ends its call with finish(reply)"
        )


class _Waiting(Generic[Res]):
    """A call that waits for its end, as the loop has it."""

    __slots__ = ("cancelled", "cancelled_callbacks", "future", "inbox", "method", "thread")

    def __init__(self, method: str) -> None:
        self.method = method
        self.inbox = _inbox()
        self.thread = threading.get_ident()
        self.future: asyncio.Future[Res] = self.inbox.loop.create_future()
        self.cancelled = False
        self.cancelled_callbacks: deque[Callable[[], object]] = deque()

    def put(self, function: Callable[[Any], None], outcome: Any) -> None:
        """Have the loop's thread call `function(outcome)`; at once, where this is that thread."""
        if threading.get_ident() == self.thread:
            function(outcome)
        else:
            self.inbox.put(function, outcome)

    def set_reply(self, reply: Res) -> None:
        """The handler finished (loop thread)."""
        if not self.future.done():
            self.future.set_result(reply)

    def set_error(self, error: Exception) -> None:
        """The handler failed (loop thread)."""
        if not self.future.done():
            self.future.set_exception(error)

    def end(self) -> None:
        """The call is over (loop thread)."""
        if self.future.cancelled():
            self.cancelled = True
            self.call_back()

    def call_back(self) -> None:
        """Tell those who asked for a cancellation. deque hands each of them out once."""
        while self.cancelled_callbacks:
            try:
                function = self.cancelled_callbacks.popleft()
            except IndexError:
                return
            try:
                function()
            except Exception:
                log.exception("%s: a callback of its cancellation failed", self.method)


class Finish(Generic[Res_contra]):
    """Ends one call: `finish(reply)` or `finish(error=gyr.NotFound("..."))`.

    May be called once, from any thread, and never waits. RuntimeError the second time. No effect
    when the call is over already, cancelled or past its deadline. An error that is no RpcError
    becomes UNKNOWN and is logged, as if a handler had raised it. When it is dropped without having
    been called, its call ends with UNKNOWN and a line in the log.
    """

    __slots__ = ("__weakref__", "_once", "_waiting")

    def __init__(self, waiting: _Waiting[Any]) -> None:
        self._waiting = waiting
        self._once = threading.Lock()

    @overload
    def __call__(self, reply: Res_contra, /) -> None: ...
    @overload
    def __call__(self, /, *, error: Exception) -> None: ...
    def __call__(self, reply: Any = None, /, *, error: Exception | None = None) -> None:
        """End the call."""
        if (reply is None) == (error is None):
            raise TypeError("finish takes a reply or an error=: one of them")
        if error is not None and not isinstance(error, Exception):
            raise TypeError(
                f"finish(error={error!r}): it must be an exception, as in "
                "finish(error=gyr.NotFound('no such order'))"
            )
        if not self._take():
            raise RuntimeError(f"{self._waiting.method}: finish was called twice for one call")
        waiting = self._waiting
        if error is not None:
            waiting.put(waiting.set_error, error)
        else:
            waiting.put(waiting.set_reply, reply)

    @property
    def cancelled(self) -> bool:
        """Whether the call was cancelled, by its client or by its deadline, before it was ended."""
        return self._waiting.cancelled

    def when_cancelled(self, function: Callable[[], object]) -> None:
        """Have `function()` called if the call is cancelled before it is ended; at once if it was.

        It is called once, on the server's event loop (at once: by this thread), and must not
        block there.
        """
        self._waiting.cancelled_callbacks.append(function)
        if self._waiting.cancelled:
            self._waiting.call_back()

    def _take(self) -> bool:
        """Whether this is the first who ends the call. A lock that is never given back: taking it
        is atomic."""
        return self._once.acquire(blocking=False)

    def __del__(self) -> None:
        if not self._take() or self._waiting.future.done():
            return
        self._waiting.put(
            self._waiting.set_error,
            RuntimeError(f"the handler of {self._waiting.method} dropped its finish uncalled"),
        )

    def __repr__(self) -> str:
        state = "called" if self._once.locked() else "not called"
        return f"<Finish of {self._waiting.method}, {state}>"


class _Here(threading.local):
    """The inbox of the loop that runs in this thread."""

    inbox: Inbox | None = None


_here = _Here()


def _inbox() -> Inbox:
    loop = asyncio.get_running_loop()
    if _here.inbox is None or _here.inbox.loop is not loop:
        _here.inbox = Inbox(loop)
    return _here.inbox
