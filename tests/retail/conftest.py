"""The databases that the store is tested with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.retail import postgres

WITHOUT_POSTGRES = postgres.missing()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.running() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'orders.db'}"


@pytest.fixture(params=["sqlite", *([] if WITHOUT_POSTGRES else ["postgresql"])])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new database for each test, in each kind that the machine has."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    with postgres.new_database(request.getfixturevalue("postgres_server")) as url:
        yield url


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Of several workers the first says it, as standard output is taken by what they report.
    distributed = session.config.getoption("numprocesses", default=None)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "controller" if distributed else "gw0")
    if WITHOUT_POSTGRES and worker == "gw0":
        print(f"\nretail: SQLite only, PostgreSQL not tested: {WITHOUT_POSTGRES}", file=sys.stderr)
