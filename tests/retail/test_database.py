"""Which database URLs are taken."""

from __future__ import annotations

import pytest

from retail.database import create_engine, parse_url


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite+aiosqlite:///orders.db", "sqlite+aiosqlite:///orders.db"),
        ("sqlite:////var/lib/shop/orders.db", "sqlite+aiosqlite:////var/lib/shop/orders.db"),
        ("postgresql://me@host/shop", "postgresql+asyncpg://me@host/shop"),
        ("postgresql+psycopg://me@host/shop", "postgresql+psycopg://me@host/shop"),
    ],
)
def test_urls_get_an_asyncio_driver(given: str, used: str) -> None:
    assert parse_url(given).render_as_string() == used


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("orders.db", "'orders.db' is not a database URL: give something like sqlite"),
        ("mysql://host/shop", "kept in sqlite or postgresql, not in mysql"),
        ("sqlite://", "must survive a restart: name a file"),
        ("sqlite+aiosqlite:///:memory:", "must survive a restart: name a file"),
    ],
)
def test_other_urls_are_refused_with_a_remedy(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "postgresql+nosuch://host/shop",
            "nosuch is not an asyncio driver: use postgresql.asyncpg",
        ),
        ("sqlite+pysqlite:///orders.db", "pysqlite is not an asyncio driver: use sqlite.aiosqlite"),
    ],
)
def test_drivers_that_do_not_serve_are_refused_with_a_remedy(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        create_engine(parse_url(url))


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError, match="not in mysql") as caught:
        parse_url("mysql://me:secret@host/shop")
    assert "secret" not in str(caught.value)
