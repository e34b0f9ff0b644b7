"""A call of any of the four patterns, with messages whose types are known only now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gyrfalcon as gyr

from .failures import WrongUse
from .options import Connecting


async def start(
    channel: gyr.Channel,
    method: gyr.Method[Any, Any],
    requests: AsyncIterator[Any],
    connecting: Connecting,
) -> Any:
    """Start a call and return it. A method with one request takes it from `requests` first.

    Raises WrongUse when there is not exactly one.
    """
    options = connecting.call_options
    match method.pattern:
        case gyr.Pattern.UNARY_UNARY:
            return gyr.UnaryUnary(channel, method)(await _only(method, requests), **options)
        case gyr.Pattern.UNARY_STREAM:
            return gyr.UnaryStream(channel, method)(await _only(method, requests), **options)
        case gyr.Pattern.STREAM_UNARY:
            return gyr.StreamUnary(channel, method)(requests, **options)
        case gyr.Pattern.STREAM_STREAM:
            return gyr.StreamStream(channel, method)(requests, **options)


async def replies(method: gyr.Method[Any, Any], call: Any) -> AsyncIterator[Any]:
    """The replies of a call, one or many."""
    if not method.pattern.server_streaming:
        yield await call
        return
    async for reply in call:
        yield reply


async def _only(method: gyr.Method[Any, Any], requests: AsyncIterator[Any]) -> Any:
    found = [request async for request in _at_most_two(requests)]
    if len(found) == 1:
        return found[0]
    given = "none was given" if not found else "there are more"
    raise WrongUse(f"{method.path[1:]} takes exactly one request, and {given}")


async def _at_most_two(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    number = 0
    async for request in requests:
        yield request
        number += 1
        if number == 2:
            return
