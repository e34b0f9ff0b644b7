"""What grpc.aio has for loops that are closed must not fail the test whose loop hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import grpc.aio
import pytest

from tests.call.service import SAFETY_NET_S, UNARY
from tests.interop.conftest import is_for_a_closed_loop
from tests.interop.servers import Context, aio_server

pytestmark = pytest.mark.anyio


class Abandoned:
    """A call of grpc.aio whose loop is closed while it runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.started = asyncio.Event()

    def run(self, target: str) -> None:
        """Close the loop when the call has started."""
        try:
            self.loop.run_until_complete(self._start(target))
        finally:
            self.loop.close()

    async def _start(self, target: str) -> None:
        # Kept, because neither can end in order without its loop.
        self._channel = grpc.aio.insecure_channel(target)
        self._call = self._channel.unary_unary(UNARY.path)(b"")
        await self.started.wait()


async def test_news_for_a_closed_loop_is_passed_over(
    passed_over: asyncio.Queue[BaseException],
) -> None:
    release = asyncio.Event()
    abandoned = Abandoned()

    async def reply(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        abandoned.loop.call_soon_threadsafe(abandoned.started.set)
        await release.wait()
        async for request in requests:
            yield request

    async with asyncio.timeout(SAFETY_NET_S), aio_server(reply) as target:
        with ThreadPoolExecutor(1) as thread:
            await asyncio.get_running_loop().run_in_executor(thread, abandoned.run, target)
        release.set()
        assert str(await passed_over.get()) == "Event loop is closed"


def closed_loop_error() -> RuntimeError:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed") as caught:
        loop.call_soon_threadsafe(print)
    return caught.value


async def test_nothing_else_is_passed_over(
    passed_over: asyncio.Queue[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def _handle_events() -> RuntimeError:
        return closed_loop_error()

    for error in (closed_loop_error(), _handle_events(), RuntimeError("Event loop is closed")):
        assert not is_for_a_closed_loop(error)
    asyncio.get_running_loop().call_exception_handler({"message": "of another kind"})
    assert "of another kind" in caplog.text
    assert passed_over.empty()
