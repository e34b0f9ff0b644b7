import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..wire.exchange import Exchange

_T_co = TypeVar("_T_co", covariant=True)

class Waiting(Exchange):
    """A call that can be waited for."""

class Operation(Coroutine[Any, Any, _T_co], Generic[_T_co]):
    """One step of a call; await it, once, in the call's own loop."""

    @property
    def kind(self) -> int: ...
    def __await__(self) -> Generator[Any, Any, _T_co]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    def close(self) -> None: ...

class Parking:
    """What a task waits for: as much of a future as asyncio's tasks use."""

    _asyncio_future_blocking: bool
    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop it belongs to."""
    def add_done_callback(
        self, callback: Callable[[Any], object], *, context: Context | None = None
    ) -> None:
        """Have the task called when the step can be finished."""
    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        """The task does not wait any longer."""
    def done(self) -> bool:
        """Whether the wait is over."""
    def cancelled(self) -> bool:
        """Whether the wait was cancelled."""
    def cancel(self, msg: object = None) -> bool:
        """End the wait with CancelledError."""
    def result(self) -> None:
        """None; raises CancelledError when the wait was cancelled."""
    def exception(self) -> None:
        """As `result`."""
