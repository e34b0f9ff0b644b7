"""Futures: calls that return at once and are completed later."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..rpc.metadata import Metadata
from ..rpc.peer import Peer
from ..rpc.status import Status
from ..transport.callbacks import CALLBACKS
from .call import StreamStreamCall

log = logging.getLogger("gyrfalcon.blocking")

_T = TypeVar("_T")
_Req = TypeVar("_Req")


class Future(concurrent.futures.Future[_T]):
    """A call as a `concurrent.futures.Future`, with what calls have besides.

    `result()` is the reply, or the list of replies of a streaming method; it raises the call's
    RpcError, Cancelled for one that was cancelled. Any thread may use it.
    """

    def __init__(self, call: StreamStreamCall[Any, Any]) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self._call = call
        self._callbacks: list[Callable[[Any], object]] | None = []
        self._callbacks_lock = threading.Lock()

    def cancel(self) -> bool:
        """Cancel the call; False if it is over."""
        return self._call.cancel()

    def cancelled(self) -> bool:
        """Whether the call is over because it was cancelled."""
        return self._call.cancelled()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Have `fn(future)` called when the call is over, in the thread for callbacks, which calls
        them one after another; here and now, if it is over already."""
        with self._callbacks_lock:
            if self._callbacks is not None:
                self._callbacks.append(fn)
                return
        try:
            fn(self)
        except Exception:
            log.exception("a done-callback failed: %r", fn)

    def settle(self, result: Any, error: BaseException | None) -> None:
        """End it (called by the channel)."""
        if error is None:
            self.set_result(result)
        else:
            self.set_exception(error)
        with self._callbacks_lock:
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            CALLBACKS.submit(callback, self)

    @property
    def method(self) -> str:
        """What is called, "/package.Service/Method"."""
        return self._call.method

    @property
    def peer(self) -> Peer | None:
        """The server's address; None before the call has a connection."""
        return self._call.peer

    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
        return self._call.deadline

    @property
    def reply_compressed(self) -> bool:
        """Whether the reply that was taken last came compressed; False before the first."""
        return self._call.reply_compressed

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return self._call.time_remaining()

    def initial_metadata(self) -> Metadata:
        """The Metadata that came with the response head; waits for it."""
        return self._call.initial_metadata()

    def trailing_metadata(self) -> Metadata:
        """The Metadata that came with the status; waits until the call is over."""
        return self._call.trailing_metadata()

    def status(self) -> Status:
        """The Status of the call; waits until it is over. Never raises an RpcError."""
        return self._call.status()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._call!r}>"


class StreamUnaryFuture(Future[_T], Generic[_Req, _T]):
    """The future of a call with many requests: `send()` them, unless an iterable gives them."""

    def send(self, request: _Req, *, compress: bool | None = None) -> None:
        """One request is taken, as soon as there is room. Raises the call's RpcError, or EOFError
        when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
        self._call.send(request, compress=compress)

    def done_sending(self) -> None:
        """Half-close: no more requests follow."""
        self._call.done_sending()


async def collect(call: Any) -> list[Any]:
    """All replies of a call, as a list."""
    return [reply async for reply in call]
