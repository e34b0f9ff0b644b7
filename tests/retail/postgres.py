"""A private PostgreSQL for the tests, where the machine has its programs."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from retail.database import parse_url

URL_VARIABLE: Final = "RETAIL_TEST_POSTGRES"
"""Names a server to use, as `postgresql://user@host/database`, instead of starting one."""


def missing() -> str | None:
    """What keeps PostgreSQL from being tested here."""
    if find_spec("asyncpg") is None:
        return "the package asyncpg is not installed"
    if os.environ.get(URL_VARIABLE):
        return None
    if _programs() is None:
        return f"there is no initdb and pg_ctl, and {URL_VARIABLE} names no server"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no user postgres or nobody"
    return None


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server: the one the environment names, or a new one on a unix socket."""
    named = os.environ.get(URL_VARIABLE)
    if named:
        yield named
        return
    programs = _programs()
    assert programs is not None
    user = _unprivileged() if os.geteuid() == 0 else None
    # Not below pytest's folder, which other users may not enter; short, for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix="gyrfalcon-pg-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)

    def run(program: str, *arguments: str) -> None:
        identity: dict[str, Any] = {}
        if user is not None:
            identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        # To a file: the server would keep a pipe open for as long as it lives.
        with (folder / f"{program}.log").open("w") as log:
            subprocess.run(
                [programs / program, *arguments],
                check=True,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **identity,
            )

    data = f"{folder}/data"
    try:
        run("initdb", "-D", data, "-U", "shop", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-o", options, "-w", "start")
        try:
            yield f"postgresql://shop@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on the server, gone at the end."""
    name = f"shop_{uuid.uuid4().hex}"
    before, question, after = server_url.partition("?")
    _execute(server_url, f"CREATE DATABASE {name}")
    try:
        yield f"{before.rpartition('/')[0]}/{name}{question}{after}"
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server_url: str, statement: str) -> None:
    async def execute() -> None:
        engine = create_async_engine(parse_url(server_url), isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(execute())


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps it out of PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


def _unprivileged() -> pwd.struct_passwd | None:
    known: Callable[[str], pwd.struct_passwd] = pwd.getpwnam
    for name in ("postgres", "nobody"):
        try:
            return known(name)
        except KeyError:
            continue
    return None
