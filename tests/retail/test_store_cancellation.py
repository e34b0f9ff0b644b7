"""A change that is cancelled, wherever it has come to, is there wholly or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from retail.database import create_engine, parse_url
from retail.proto.order_management_pb2 import Order
from retail.store import OrderStore

pytestmark = pytest.mark.anyio

OLD = [Order(id=f"{n}", items=["old"] * 3) for n in range(5)]
NEW = [Order(id=f"{n}", items=["new"] * 4, price=1) for n in range(5)]


class CancelAt:
    """Cancels a task as its transaction comes to a step: 0, 1, … statements, then the commit."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.step = -1
        self.steps = 0
        event.listen(engine.sync_engine, "before_cursor_execute", self._reached)
        event.listen(engine.sync_engine, "commit", self._reached)

    def _reached(self, *_: object) -> None:
        if self.steps == self.step and self.task is not None:
            self.task.cancel()
        self.steps += 1

    async def run(self, change: Coroutine[Any, Any, object], step: int) -> bool:
        """Whether the change was cancelled at `step`, rather than done before."""
        self.steps, self.step = 0, step
        self.task = asyncio.ensure_future(change)
        await asyncio.wait([self.task])
        return self.task.cancelled()


async def all_orders(store: OrderStore) -> list[Order]:
    return [order async for order in store.matching("")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda store: store.replace(NEW), NEW),
        (lambda store: store.add(Order(id="9", items=["9"])), [*OLD, Order(id="9", items=["9"])]),
    ],
    ids=["replace", "add"],
)
async def test_cancelled_at_any_step_leaves_all_or_nothing(
    database_url: str,
    change: Callable[[OrderStore], Coroutine[Any, Any, object]],
    expected: list[Order],
) -> None:
    engine = create_engine(parse_url(database_url))
    store = OrderStore(engine)
    await store.create(OLD)
    cancel_at = CancelAt(engine)
    outcomes = []
    step = 0
    while await cancel_at.run(change(store), step):
        outcomes.append(await all_orders(store))
        await store.replace(OLD)  # nobody waits for a lock that the cancelled change left behind
        if outcomes[-1] != OLD:
            break  # cancelled while it was committed
        step += 1
    assert step >= 2, "the change was cancelled before it had written anything"
    assert outcomes[:-1] == [OLD] * (len(outcomes) - 1)
    assert outcomes[-1] in (OLD, expected)
    await engine.dispose()


async def test_a_change_that_waits_for_its_turn_can_be_cancelled(database_url: str) -> None:
    engine = create_engine(parse_url(database_url))
    store = OrderStore(engine)
    await store.create(OLD)
    changes = [asyncio.ensure_future(store.replace(NEW)) for _ in range(30)]
    await asyncio.sleep(0)
    for change in changes[1:]:
        change.cancel()
    await asyncio.wait(changes)
    assert not changes[0].cancelled()
    assert {change.cancelled() for change in changes[1:]} == {True}
    assert await all_orders(store) == NEW
    await engine.dispose()
