"""A client's interceptors that await: their task, and what ends it."""

from __future__ import annotations

import asyncio

import pytest

import gyrfalcon as gyr
from tests.call.faces import HANDLERS
from tests.call.service import message, serving

pytestmark = pytest.mark.anyio


class Waiting(gyr.Interceptor):
    """Waits for what never comes, before the call or after it."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.began = asyncio.Event()
        self.ended: list[str] = []

    async def intercept(self, call: gyr.InterceptedCall) -> gyr.AsyncInterception:
        if self.when == "before":
            await self.forever()
        yield
        await self.forever()

    async def forever(self) -> None:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


class Noting(gyr.Interceptor):
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.over = asyncio.Event()

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        self.seen.append(outcome.code.name)
        self.over.set()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["cancel", "deadline", "task", "drop"])
async def test_who_ends_a_call_does_not_wait_for_them(way: str, when: str) -> None:
    waiting, noting = Waiting(when), Noting()
    chain = {"interceptors": [noting, waiting]}
    async with serving(None, chain, unary=HANDLERS["unary"]) as stub:
        call = stub.unary(message(), timeout=0.3 if way == "deadline" else None)
        await waiting.began.wait()
        if way == "cancel":
            assert call.cancel() is True
            assert call.done()
            with pytest.raises(gyr.Cancelled):
                await call
        elif way == "deadline":
            with pytest.raises(gyr.DeadlineExceeded):
                await call
        elif way == "task":
            task = asyncio.ensure_future(call)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            del call
        if when == "before":
            await noting.over.wait()
            assert waiting.ended == ["cancelled"]
    # What still waited after the call ended with the channel.
    assert waiting.ended == ["cancelled"]
    if when == "before":
        assert noting.seen == ["DEADLINE_EXCEEDED" if way == "deadline" else "CANCELLED"]


async def test_a_call_on_a_server_waits_for_them_too() -> None:
    waiting, noting = Waiting("before"), Noting()
    async with serving({"interceptors": [noting, waiting]}, unary=HANDLERS["unary"]) as stub:
        call = stub.unary(message())
        await waiting.began.wait()
        call.cancel()
        await noting.over.wait()
    assert waiting.ended == ["cancelled"]
    assert noting.seen == ["CANCELLED"]
