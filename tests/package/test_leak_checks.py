"""The checks in tests/conftest.py: a test that leaves something behind fails, a tidy one passes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TIDY = """
import asyncio, threading
import pytest

@pytest.mark.anyio
async def test_server_and_connection_closed():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.read()
    writer.close()
    server.close()

@pytest.mark.anyio
async def test_task_cancelled_at_the_end():
    asyncio.ensure_future(asyncio.Event().wait()).cancel()

def test_thread_that_ends():
    threading.Thread(target=bool).start()
"""

LEAKY = """
import asyncio, os, socket
import pytest

KEPT = []

@pytest.fixture
async def untidy():
    yield
    KEPT.append(asyncio.ensure_future(asyncio.Event().wait()))

@pytest.mark.anyio
async def test_task():
    KEPT.append(asyncio.ensure_future(asyncio.Event().wait()))

@pytest.mark.anyio
async def test_task_of_a_fixture(untidy):
    pass

@pytest.mark.anyio
async def test_socket():
    KEPT.append(socket.socket())

def test_pipe():
    KEPT.append(os.pipe())

def test_file(tmp_path):
    KEPT.append(open(tmp_path / "file", "w"))
"""


def outcome(folder: Path, source: str) -> str:
    """The last line of pytest's report on the tests of `source` below the project's conftest."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "test_source.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
    ran = subprocess.run(
        [*command, "test_source.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    return ran.stdout.rstrip().rpartition("\n")[2].partition(" in ")[0]


def test_a_tidy_test_passes(tmp_path: Path) -> None:
    assert outcome(tmp_path, TIDY) == "5 passed"


def test_what_a_test_leaves_is_an_error(tmp_path: Path) -> None:
    assert outcome(tmp_path, LEAKY) == "8 passed, 8 errors"
