"""The pages on the command line: what the how-to shows is what comes out, and the reference is what
the commands say of themselves."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.cli.running import start
from tests.docs.pages import ROOT, environment, make_library, read_page

HOW_TO = "docs/how-to/command-line.md"
ADDRESS = "127.0.0.1:50051"
CONSOLES = re.findall(
    r"^```console\n(.*?)^```$", (ROOT / HOW_TO).read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the how-to's server listens."""
    make_library(tmp_path)
    for name, text in read_page(HOW_TO).files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        target = f"unix:{folder}/s"
        with start("serve", "app:make_server", "--bind", target, cwd=tmp_path) as process:
            try:
                assert process.stderr is not None
                assert process.stderr.readline().endswith(f"listening on {target}\n")
                yield target
            finally:
                process.terminate()
                process.communicate()


def test_the_how_to_shows_what_comes_out(address: str, tmp_path: Path) -> None:
    # In the order of the page: what one command adds the next ones find.
    gyr = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gyrfalcon.cli "$@"\n'
    program = tmp_path / "bin" / "gyr"
    program.parent.mkdir()
    program.write_text(gyr, encoding="utf-8")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    assert CONSOLES
    for console in CONSOLES:
        shown = ""
        for command in re.findall(r"^\$ (.*)\n", console, re.MULTILINE):
            ran = subprocess.run(
                ["bash", "-c", command.replace(ADDRESS, address)],
                env=environment() | {"PATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            shown += f"$ {command}\n{ran.stdout}"
        assert shown == console


def reference_script() -> ModuleType:
    path = ROOT / "scripts" / "command_line_reference.py"
    spec = importlib.util.spec_from_file_location("command_line_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_commands_say() -> None:
    # Otherwise: python scripts/command_line_reference.py
    script = reference_script()
    text = script.PAGE.read_text(encoding="utf-8")
    assert text.partition(script.MARKER)[2] == f"\n{script.reference()}"
