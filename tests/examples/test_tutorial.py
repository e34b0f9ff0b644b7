"""The tutorial, done as it is written: its files, its commands, its output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.servers import ROOT

TEXT = (ROOT / "docs" / "tutorial" / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
COMMANDS = "".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)).splitlines()
OUTPUTS = re.findall(r"^```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:50051"
# pytest-asyncio warns when it is not set up; the tutorial needs no more than anyio's plugin.
PLAIN = ("-p", "no:asyncio")


def run(folder: Path, *arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def environment() -> dict[str, str]:
    """Relative folders of PYTHONPATH mean what they mean here."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    resolved = [str(Path(path).resolve()) for path in paths if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(resolved)}


def command(beginning: str) -> list[str]:
    (line,) = [line for line in COMMANDS if line.startswith(beginning)]
    return line.split()[1:]


@pytest.fixture
def address() -> Iterator[str]:
    """On a socket of its own, so that no port has to be free. pytest's folders are too deep."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"unix:{folder}/library"


@pytest.fixture
def folder(tmp_path: Path, address: str) -> Path:
    for name in ("library/proto/__init__.py", "library/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace(ADDRESS, address), encoding="utf-8")
    run(tmp_path, "-m", "gyrfalcon.cli", *command("gyr generate"))
    return tmp_path


def test_the_tutorial_has_every_file_that_it_speaks_of() -> None:
    assert sorted(FILES) == [
        "library/client.py",
        "library/server.py",
        "library/service.py",
        "protos/library.proto",
        "tests/test_library.py",
    ]


def test_the_client_prints_what_the_tutorial_says(folder: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, *command("python -m library.server")], cwd=folder, env=environment()
    )
    try:
        assert [run(folder, "-m", "library.client")] == OUTPUTS
    finally:
        server.terminate()
        assert server.wait() == 0


def test_the_tests_of_the_tutorial_pass(folder: Path) -> None:
    assert "3 passed" in run(folder, *command("python -m pytest"), "-W", "error", *PLAIN)


def test_the_tutorial_type_checks_strictly(folder: Path) -> None:
    run(folder, "-m", "mypy", "--strict", "library", "tests", "--cache-dir", os.devnull)
