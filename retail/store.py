"""Orders in a database: every change is one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final, TypeVar

from sqlalchemy import Select, bindparam, delete, exists, func, insert, inspect, select
from sqlalchemy import exc as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import ColumnElement

from .database import create_engine, order_items, orders, parse_url, prepare_file, tables
from .proto.order_management_pb2 import Order
from .sample import SAMPLE_ORDERS

_T = TypeVar("_T")

PAGE: Final = 25
"""Orders that a search reads at once."""

_FAULTS: Final = (
    sql.DataError,
    sql.IntegrityError,
    sql.InternalError,
    sql.NotSupportedError,
    sql.ProgrammingError,
)
"""Errors of a statement, not of the database's state: trying again would not help."""

_CREATION_LOCK: Final = 0x6F7264657273
"""Key of the PostgreSQL advisory lock under which the tables are made ("orders" in ASCII)."""


class StoreError(Exception):
    """The database cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The database does not answer, or not in time; the same request may succeed later."""


class UnstorableText(StoreError):
    """A text that this database cannot keep."""


class OrderStore:
    """The orders of the shop. Made by `open_store`; belongs to the event loop it was opened in.

    A method that is cancelled leaves either all of its change or nothing. Every method raises
    StoreUnavailable when the database does not answer.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._postgres = engine.dialect.name == "postgresql"
        # A transaction of SQLite sees one snapshot anyway.
        snapshot = {"isolation_level": "REPEATABLE READ"} if self._postgres else {}
        self._reader = engine.execution_options(**snapshot)
        self._writer = engine.execution_options(writes=True)
        # SQLite has one writer at a time. Writers of this process queue here, first come first
        # served; only those of other processes meet at the file, where waiting is a busy loop.
        self._turn: AbstractAsyncContextManager[Any] = (
            nullcontext() if self._postgres else asyncio.Lock()
        )

    async def create(self, first_orders: Iterable[Order]) -> None:
        """Makes the tables and puts `first_orders` in them, unless the tables are there."""

        async def create(connection: AsyncConnection) -> None:
            if self._postgres:
                await connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
            there = await connection.run_sync(
                lambda sync: set(inspect(sync).get_table_names()) & set(tables.tables)
            )
            if not there:
                await connection.run_sync(tables.create_all)
                await self._replace(connection, first_orders)
            elif there != set(tables.tables):
                raise StoreError(
                    f"the database has a table {', '.join(sorted(there))} that is not the shop's: "
                    "give it a database of its own"
                )

        await self._change(create)

    async def add(self, order: Order) -> bool:
        """Adds a new order; False, and no change, when there is one with its id.

        Raises UnstorableText for U+0000 where the database is PostgreSQL.
        """
        self._check_texts(order)

        async def add(connection: AsyncConnection) -> bool:
            added = await connection.execute(
                self._insert_order().on_conflict_do_nothing(), _order_row(order)
            )
            if added.rowcount == 0:
                return False
            await _insert_items(connection, [order])
            return True

        return await self._change(add)

    async def replace(self, changed: Iterable[Order]) -> None:
        """Replaces or creates every order, all or none. No two may have the same id.

        Raises UnstorableText for U+0000 where the database is PostgreSQL.
        """
        changed = list(changed)
        for order in changed:
            self._check_texts(order)
        await self._change(partial(self._replace, changed=changed))

    async def find(self, order_id: str) -> Order | None:
        """The order with this id."""
        if self._postgres and "\0" in order_id:
            return None
        for order in await self._read(select(orders).where(orders.c.id == order_id)):
            return order
        return None

    async def matching(self, text: str) -> AsyncGenerator[Order, None]:
        """Every order with an item that contains `text`, literally and case-sensitively, by id.

        Reads PAGE orders at a time and holds no connection between pages, so that a slow reader
        keeps nobody waiting. Each order comes once, as it is when its page is read.
        """
        if self._postgres and "\0" in text:
            return
        found = select(orders).where(self._has_item_with(text)).order_by(orders.c.id).limit(PAGE)
        page = await self._read(found)
        while page:
            for order in page:
                yield order
            if len(page) < PAGE:
                return
            page = await self._read(found.where(orders.c.id > page[-1].id))

    async def _read(self, chosen: Select[Any]) -> list[Order]:
        """Both statements see one snapshot: never the row of one update with another's items."""

        async def read() -> list[Order]:
            async with self._reader.connect() as connection:
                rows = (await connection.execute(chosen)).all()
                if not rows:
                    return []
                its_items = (
                    select(order_items.c.order_id, order_items.c.item)
                    .where(order_items.c.order_id.in_([row.id for row in rows]))
                    .order_by(order_items.c.order_id, order_items.c.position)
                )
                items: defaultdict[str, list[str]] = defaultdict(list)
                for order_id, item in await connection.execute(its_items):
                    items[order_id].append(item)
            return [Order(**row._mapping, items=items[row.id]) for row in rows]

        with _translated_errors():
            return await _to_the_end(read())

    async def _replace(self, connection: AsyncConnection, changed: Iterable[Order]) -> None:
        # Two transactions that lock rows in the same order cannot wait for each other in a circle.
        # The row of the order comes first: it is the lock under which its items change.
        changed = sorted(changed, key=lambda order: order.id)
        if not changed:
            return
        upsert = self._insert_order()
        await connection.execute(
            upsert.on_conflict_do_update(
                index_elements=[orders.c.id],
                set_={
                    "description": upsert.excluded.description,
                    "price": upsert.excluded.price,
                    "destination": upsert.excluded.destination,
                },
            ),
            [_order_row(order) for order in changed],
        )
        await connection.execute(
            delete(order_items).where(order_items.c.order_id == bindparam("changed")),
            [{"changed": order.id} for order in changed],
        )
        await _insert_items(connection, changed)

    def _insert_order(self) -> postgresql.Insert | sqlite.Insert:
        return postgresql.insert(orders) if self._postgres else sqlite.insert(orders)

    def _has_item_with(self, text: str) -> ColumnElement[bool]:
        # Not LIKE: it gives % and _ a meaning, and SQLite's takes a for A.
        position = func.strpos if self._postgres else func.instr
        return exists().where(
            order_items.c.order_id == orders.c.id, position(order_items.c.item, text) > 0
        )

    def _check_texts(self, order: Order) -> None:
        if not self._postgres:
            return
        texts = {"id": order.id, "description": order.description, "destination": order.destination}
        texts |= {f"items[{n}]": item for n, item in enumerate(order.items)}
        for name, text in texts.items():
            if "\0" in text:
                raise UnstorableText(f"{name} {text!r} contains U+0000: PostgreSQL cannot keep it")

    async def _change(self, work: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
        """Does `work` in one transaction, which is rolled back when this is cancelled before its
        commit has begun."""
        cancelled = asyncio.Event()

        async def transaction() -> _T:
            async with self._writer.begin() as connection:
                result = await work(connection)
                if cancelled.is_set():
                    await connection.rollback()
            return result

        with _translated_errors():
            async with self._turn:
                return await _to_the_end(transaction(), on_cancel=cancelled.set)


@asynccontextmanager
async def open_store(
    url: str, *, first_orders: Sequence[Order] = SAMPLE_ORDERS
) -> AsyncIterator[OrderStore]:
    """The store in the database at `url`; a new database starts with `first_orders`.

    Raises StoreError for a URL or a database that cannot be used.
    """
    try:
        place = parse_url(url)
        engine = create_engine(place)
    except ValueError as error:
        raise StoreError(str(error)) from error
    try:
        store = OrderStore(engine)
        try:
            if engine.dialect.name == "sqlite":
                prepare_file(engine)
            await store.create(first_orders)
        except (StoreUnavailable, sqlite3.Error, *_FAULTS) as error:
            reason = _reason(error.__cause__ or error)
            raise StoreError(f"{place.render_as_string()}: {reason}") from error
        yield store
    finally:
        await engine.dispose()


async def _to_the_end(
    work: Coroutine[Any, Any, _T], on_cancel: Callable[[], object] = lambda: None
) -> _T:
    """Awaits `work`, which ends by itself even when this is cancelled; CancelledError comes then.

    A statement that is cancelled while SQLite executes it leaves a connection that cannot be
    closed, and that keeps its lock on the file until the garbage collector finds its cursor.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # asyncio reports those that nobody has looked at
        raise cancelled
    return task.result()


def _order_row(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "description": order.description,
        "price": order.price,
        "destination": order.destination,
    }


async def _insert_items(connection: AsyncConnection, of: Iterable[Order]) -> None:
    rows = [
        {"order_id": order.id, "position": position, "item": item}
        for order in of
        for position, item in enumerate(order.items)
    ]
    if rows:
        await connection.execute(insert(order_items), rows)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except _FAULTS:
        raise
    except (sql.DBAPIError, sql.TimeoutError, OSError) as error:
        raise StoreUnavailable(
            f"the database of orders does not answer: {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    """The driver's own words, without SQLAlchemy's link and statement."""
    return str((isinstance(error, sql.DBAPIError) and error.orig) or error)
