"""The server as a program of its own, and several of them on one file."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from examples.demo.servers import ROOT

# A program that opens the store and writes its own versions of two orders, again and again.
WRITER = """
import asyncio, sys
from retail.proto.order_management_pb2 import Order
from retail.store import open_store

async def main(url, name):
    async with open_store(url) as store:
        for n in range(15):
            version = [f"{name}{n}"] * 3
            await store.replace([Order(id=order_id, items=version) for order_id in ("a", "b")])
            await store.add(Order(id=f"{name}{n}", items=["x"]))

asyncio.run(main(*sys.argv[1:]))
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def test_programs_that_write_one_file_at_once_all_succeed(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    writers = [start("-c", WRITER, f"sqlite:///{path}", name) for name in ("p", "q", "r")]
    assert [outcome(writer) for writer in writers] == [(0, "", "")] * 3
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (5 + 2 + 3 * 15,)
        versions = database.execute(
            "SELECT order_id, item FROM order_items WHERE order_id IN ('a', 'b')"
        ).fetchall()
    assert len(versions) == 6
    assert len({item for _, item in versions}) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["--db", "shop.txt"], 1, "'shop.txt' is not a database URL: give something like sqlite"),
        (["--db", "sqlite:////nowhere/x.db"], 1, "/nowhere/x.db: unable to open database file"),
        (["--db", "postgresql://me:secret@127.0.0.1:1/x"], 1, "me:***@127.0.0.1:1/x: [Errno"),
        (["--batch-size", "0"], 2, "--batch-size 0: a batch has at least 1 order"),
        (["--batch-size", "three"], 2, "invalid int value: 'three'"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(
    arguments: list[str], status: int, reason: str
) -> None:
    code, out, err = outcome(start("-m", "retail.server", *arguments))
    assert (code, out) == (status, "")
    assert reason in err
    assert "Traceback" not in err
