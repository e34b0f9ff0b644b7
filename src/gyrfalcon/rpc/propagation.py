"""What ties the calls that are made while serving a call to that call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., Any])

# Holds what native code puts there (transport/propagation.pyx): the scope of the call that is being
# served in this context.
CURRENT: ContextVar[Any] = ContextVar("gyrfalcon_call_being_served", default=None)


class detach:
    """Calls made inside go on by themselves: `with gyr.detach(): ...`.

    In a handler, and in what it starts, a call has the deadline of the call being served as its
    upper bound, ends with CANCELLED when that one is over, and takes along the metadata that its
    channel was told to. Inside `with detach()` it does not; nor do tasks and threads with a
    context that was copied there, such as `asyncio.create_task` makes.

    As a decorator, `@gyr.detach()`, it does so for a function, `def` or `async def`.
    """

    def __init__(self) -> None:
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._tokens.append(CURRENT.set(None))

    def __exit__(self, *error: object) -> None:
        CURRENT.reset(self._tokens.pop())

    def __call__(self, function: _F) -> _F:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"detach() cannot decorate the generator {function.__qualname__}: write"
                " `with detach():` around the calls inside"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def detached_coroutine(*arguments: Any, **options: Any) -> Any:
                with detach():
                    return await function(*arguments, **options)

            return cast("_F", detached_coroutine)

        @functools.wraps(function)
        def detached(*arguments: Any, **options: Any) -> Any:
            with detach():
                return function(*arguments, **options)

        return cast("_F", detached)
