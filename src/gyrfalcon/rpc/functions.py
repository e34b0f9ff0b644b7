"""What a program's function is, before it is called."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def is_async_function(function: Any) -> bool:
    """Whether it is `async def`, with or without `yield`: itself, what a decorator or a
    `functools.partial` wraps, or the `__call__` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    candidates = (function, getattr(function, "__call__", None))  # noqa: B004 (an object's own)
    return any(
        inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate)
        for candidate in candidates
    )
