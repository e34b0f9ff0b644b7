"""The programs that are printed in the documentation run, print what is said, and type-check."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import gyrfalcon as gyr
from gyrfalcon.rpc import RAW
from tests.docs.pages import Page, environment, make_library, read_page, run, with_programs

ADDRESS = "127.0.0.1:50051"
PLUGIN = "gyrfalcon.testing.pytest_plugin"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    make_library(folder)
    return folder


@pytest.fixture
def folder(library: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(library, tmp_path / "site"))


@pytest.mark.parametrize("page", with_programs(), ids=lambda page: page.path)
def test_a_program_prints_what_its_page_says(page: Page, folder: Path) -> None:
    for name, text in page.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / page.module).write_text(page.program, encoding="utf-8")
    ran = run(folder, page.module)
    assert ran.stdout == page.output, ran.stderr
    assert ran.returncode == 0, ran.stderr


def test_programs_type_check_strictly(folder: Path) -> None:
    for page in with_programs():
        for name, text in {**page.files, page.module: page.program}.items():
            (folder / name).write_text(text, encoding="utf-8")
    # As docs/how-to/errors.md says: googleapis-common-protos has types, and no py.typed.
    (folder / "mypy.ini").write_text("[mypy]\n[mypy-google.rpc.*]\nfollow_untyped_imports = True\n")
    ran = run(
        *(folder, "-m", "mypy", "--strict", "--config-file", "mypy.ini"),
        *("--cache-dir", os.devnull, "."),
    )
    assert ran.stdout.startswith("Success"), ran.stdout + ran.stderr


def test_the_tests_of_the_testing_page_pass(folder: Path) -> None:
    page = read_page("docs/how-to/testing.md")
    for name, text in page.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    installed = any(found.value == PLUGIN for found in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", PLUGIN]
    ran = run(folder, "-m", "pytest", "-q", "-p", "no:asyncio", *plugin, *page.files)
    assert ran.stdout.splitlines()[-1].startswith("4 passed in "), ran.stdout + ran.stderr


@pytest.fixture
def address() -> Iterator[str]:
    """On a socket of its own, so that no port has to be free. pytest's folders are too deep."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"unix:{folder}/library"


def test_the_server_of_the_shutdown_page_ends_its_calls_on_sigterm(
    folder: Path, address: str
) -> None:
    page = read_page("docs/how-to/graceful-shutdown.md")
    server = page.files["server.py"]
    assert ADDRESS in server
    (folder / "server.py").write_text(server.replace(ADDRESS, address), encoding="utf-8")
    method = gyr.Method(
        service="library.Library",
        name="GetBook",
        attribute="get_book",
        pattern=gyr.Pattern.UNARY_UNARY,
        request=bytes,
        response=bytes,
        codec=RAW,
    )

    async def call_while_it_stops(process: subprocess.Popen[str]) -> bytes:
        async with gyr.Channel(address) as channel:
            call = gyr.UnaryUnary(channel, method)(b"", wait_for_ready=True, timeout=30.0)
            await call.initial_metadata()
            process.send_signal(signal.SIGTERM)
            return await call

    with subprocess.Popen(
        [sys.executable, "-W", "error", "server.py"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            reply = asyncio.run(call_while_it_stops(process))
        except BaseException:
            process.kill()
            raise
        output, _ = process.communicate()
    assert b"Emma" in reply
    assert output == "all calls have ended\n"
    assert process.returncode == 0
