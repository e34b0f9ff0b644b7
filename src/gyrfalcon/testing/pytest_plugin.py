"""Fixtures for pytest, in every project where gyrfalcon is installed.

- `gyr_serve`: `serve`, and what it serves ends with the test.
- `gyr_clock`: a clock that the test moves.

Asynchronous tests may be run by any plugin (anyio's, pytest-asyncio, ...): what a test serves ends
inside its coroutine, in its loop. Nothing but pytest is imported before a fixture is used.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gyrfalcon.testing import Clock, Serving

_FIXTURE = "gyr_serve"


class Serve:
    """What the fixture `gyr_serve` is: call it as `gyrfalcon.testing.serve`."""

    def __init__(self) -> None:
        self._served: list[Serving] = []

    def __call__(self, *services: Any, **options: Any) -> Serving:
        """As `serve`. Await what it returns for a channel, `open()` it for a blocking one, or enter
        its block; the test's end closes it in any case."""
        from gyrfalcon.testing import serve

        served = serve(*services, **options)
        self._served.append(served)
        return served

    async def aclose(self) -> None:
        """Close what serves in the running loop."""
        while self._served:
            await self._served.pop().aclose()

    def close(self) -> None:
        """Close what serves in threads of its own."""
        while self._served:
            self._served.pop().close()


@pytest.fixture
def gyr_serve() -> Iterator[Serve]:
    """`gyrfalcon.testing.serve`; what it serves ends with the test."""
    serve = Serve()
    try:
        yield serve
    finally:
        serve.close()


@pytest.fixture
def gyr_clock() -> Clock:
    """A `gyrfalcon.testing.Clock`, to be given to `gyr_serve` and moved by the test."""
    from gyrfalcon.testing import Clock

    return Clock()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have an asynchronous test close what it served, before its loop is gone."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        serve = item.funcargs.get(_FIXTURE)
        if isinstance(serve, Serve):
            item.obj = _closing(item.obj, serve)
    return (yield)


def _closing(test: Callable[..., Any], serve: Serve) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(*arguments: Any, **named: Any) -> Any:
        try:
            return await test(*arguments, **named)
        finally:
            await serve.aclose()

    return run
