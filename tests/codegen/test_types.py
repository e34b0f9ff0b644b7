"""Generated code, and programs that use it, as strict type checkers see them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gyrfalcon.codegen.generation import generate
from tests.codegen.regenerate import HERE, PROTOS, VENDOR

PROGRAMS = HERE / "programs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with somebody's messages and a package: programs and everything generated."""
    site = tmp_path_factory.mktemp("site")
    generate([VENDOR], site, proto_paths=[VENDOR], package=False)
    front = site / "front"
    front.mkdir()
    (front / "__init__.py").touch()
    generate([PROTOS], front / "proto", proto_paths=[PROTOS, VENDOR])
    for program in PROGRAMS.glob("*.sample"):
        (front / program.name.removesuffix(".sample")).write_text(program.read_text("utf-8"))
    return site


def _mypy(folder: Path, *paths: str) -> list[str]:
    """The errors of `mypy --strict`, as file:line message."""
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--config-file="),
        *("--explicit-package-bases", "--show-absolute-path", "--no-error-summary", *paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.stderr == ""
    errors = re.findall(r"^(.+?):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    assert bool(errors) == bool(done.returncode), done.stdout
    return [
        f"{Path(file).relative_to(folder).as_posix()}:{line} {text}" for file, line, text in errors
    ]


def _pyright(folder: Path, *paths: str) -> list[str]:
    """The errors of strict Pyright, in the same form."""
    settings = {"include": paths, "typeCheckingMode": "strict", "reportMissingModuleSource": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        *(sys.executable, "-m", "pyright", "--outputjson", "--project", str(folder)),
        *("--pythonpath", sys.executable),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > 0
    return [
        f"{Path(found['file']).relative_to(folder).as_posix()}"
        f":{found['range']['start']['line'] + 1} {found['message']}"
        for found in report["generalDiagnostics"]
    ]


def _mistakes() -> list[str]:
    lines = (PROGRAMS / "mistakes.py.sample").read_text("utf-8").split("\n")
    return [f"front/mistakes.py:{n}" for n, line in enumerate(lines, 1) if "# mistake" in line]


CORRECT = ("front/proto", "front/serve.py", "front/call.py", "acme")


def test_mypy_accepts_what_is_generated_and_correct_programs(site: Path) -> None:
    assert _mypy(site, *CORRECT) == []


def test_pyright_accepts_what_is_generated_and_correct_programs(site: Path) -> None:
    assert _pyright(site, *CORRECT) == []


def test_mypy_finds_the_mistakes(site: Path) -> None:
    found = _mypy(site, "front/mistakes.py")
    assert sorted({error.split()[0] for error in found}) == sorted(_mistakes())


def test_pyright_finds_the_mistakes(site: Path) -> None:
    found = _pyright(site, "front/mistakes.py")
    assert sorted({error.split()[0] for error in found}) == sorted(_mistakes())


def test_mypy_accepts_a_plain_folder(tmp_path: Path) -> None:
    generate([VENDOR, PROTOS], tmp_path, proto_paths=[PROTOS, VENDOR])
    assert _mypy(tmp_path, ".") == []


def test_pyright_accepts_a_plain_folder(tmp_path: Path) -> None:
    generate([VENDOR, PROTOS], tmp_path, proto_paths=[PROTOS, VENDOR])
    assert _pyright(tmp_path, ".") == []
