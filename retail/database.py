"""The tables of the shop, and engines for the databases that can hold them."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from typing import Any, Final

from sqlalchemy import (
    REAL,
    Column,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    event,
    make_url,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

DEFAULT_URL: Final = "sqlite+aiosqlite:///orders.db"

MAX_ID_LENGTH: Final = 256
"""Characters. In UTF-8 that is at most 1,024 bytes: PostgreSQL indexes no more than 2,704."""

POOL_SIZE: Final = 8
"""Connections of one server. With SQLite each of them is a thread."""

WAIT_SECONDS: Final = 30.0
"""How long a call waits for a connection, and for the lock of a SQLite file."""

tables: Final = MetaData()

# Ids compare by code point in every database, so that a search gives the same order everywhere.
_id_type: Final = String(MAX_ID_LENGTH).with_variant(
    String(MAX_ID_LENGTH, collation="C"), "postgresql"
)

orders: Final = Table(
    "orders",
    tables,
    Column("id", _id_type, primary_key=True),
    Column("description", Text, nullable=False),
    Column("price", REAL, nullable=False),
    Column("destination", Text, nullable=False),
)

order_items: Final = Table(
    "order_items",
    tables,
    Column("order_id", _id_type, ForeignKey("orders.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("item", Text, nullable=False),
)

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
}


def parse_url(text: str) -> URL:
    """Reads a database URL; `sqlite:///FILE` and `postgresql://…` get their asyncio driver.

    Raises ValueError, naming the URL and the remedy, for anything that cannot hold the orders.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(
            f"{text!r} is not a database URL: give something like {DEFAULT_URL} "
            "or postgresql://user:password@host/database"
        ) from None
    shown = url.render_as_string()
    backend = url.get_backend_name()
    if backend not in _DRIVERS:
        raise ValueError(f"{shown}: orders are kept in sqlite or postgresql, not in {backend}")
    if backend == "sqlite" and (url.database or ":memory:") == ":memory:":
        raise ValueError(
            f"{shown} lives in memory, but orders must survive a restart: "
            f"name a file, as in {DEFAULT_URL}"
        )
    return url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))


def create_engine(url: URL) -> AsyncEngine:
    """An engine for `url` (from `parse_url`) with transactions as the store needs them.

    Raises ValueError when the driver that the URL names is not there.
    """
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.get_backend_name() == "sqlite":
        # None: the driver never begins a transaction by itself; `_begin_sqlite` does.
        options = {"connect_args": {"timeout": WAIT_SECONDS, "isolation_level": None}}
    try:
        engine = create_async_engine(
            url,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
            **options,
        )
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{url.render_as_string()} needs the package {error.name}: install it"
        ) from error
    except (ArgumentError, InvalidRequestError) as error:
        raise ValueError(
            f"{url.render_as_string()}: {url.drivername} is not an asyncio driver: "
            f"use {_DRIVERS[url.get_backend_name()]}"
        ) from error
    if url.get_backend_name() == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def prepare_file(engine: AsyncEngine) -> None:
    """Opens the file of a SQLite engine, makes it where it is missing, and sets it to WAL.

    Blocks meanwhile. Raises sqlite3.Error when the file cannot be used. aiosqlite would report it
    too, but its thread then outlives an event loop that ends for it.
    """
    arguments: Any
    options: Any
    arguments, options = engine.dialect.create_connect_args(engine.url)
    with closing(sqlite3.connect(*arguments, **options)) as connection:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        if not path:
            raise sqlite3.OperationalError("it lives in memory, but orders must survive a restart")
        # Two that change the journal mode at once fail with SQLITE_BUSY whatever the timeout. The
        # lock is on the folder: closing the file once more would drop SQLite's own locks on it.
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            # With a write-ahead log, readers and the writer do not wait for each other.
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            os.close(folder)


def _prepare_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading cannot become a writer once another has written
    # (SQLITE_BUSY at once, whatever the busy timeout): writers take the lock when they begin.
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
