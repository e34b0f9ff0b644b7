"""The stubs of the native modules say what is there at run time, no less and no more."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

import gyrfalcon

ALLOWED = Path(__file__).parent / "stubtest.allow"
PACKAGE = Path(gyrfalcon.__file__).parent


def native_modules() -> list[str]:
    found = []
    for file in PACKAGE.rglob("*"):
        suffix = next((each for each in EXTENSION_SUFFIXES if file.name.endswith(each)), None)
        if suffix is not None:
            parts = file.relative_to(PACKAGE).parts
            found.append(".".join(["gyrfalcon", *parts[:-1], parts[-1].removesuffix(suffix)]))
    return sorted(found)


def stub_of(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".pyi")


def documented(module: str) -> Iterator[tuple[str, str]]:
    """What has a docstring in a stub: its name in the module, and the docstring."""

    def walk(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str]]:
        for each in node.body:
            if not isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = prefix + each.name
            text = ast.get_docstring(each)
            if text is not None:
                yield name, text
            if isinstance(each, ast.ClassDef):
                yield from walk(each, f"{name}.")

    return walk(ast.parse(stub_of(module).read_text("utf-8")), "")


def test_every_native_module_has_a_stub() -> None:
    modules = native_modules()
    assert {"gyrfalcon.client.call", "gyrfalcon.server.call"} <= set(modules)
    assert [module for module in modules if not stub_of(module).exists()] == []


def test_stubs_and_modules_have_the_same_names_and_signatures(tmp_path: Path) -> None:
    # A configuration of its own: the project's would be looked up from here, and names other files.
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\n", encoding="utf-8")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-disjoint-bases"),
            *("--allowlist", str(ALLOWED), "--mypy-config-file", str(settings), *native_modules()),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines() == []
    assert (ran.stderr, ran.returncode) == ("", 0)


@pytest.mark.parametrize("module", native_modules())
def test_editors_show_the_docstrings_of_the_run_time(module: str) -> None:
    actual: dict[str, str] = {}
    expected: dict[str, str] = {}
    for name, text in documented(module):
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        actual[name] = " ".join((found.__doc__ or "").split())
        expected[name] = " ".join(text.split())
    assert actual == expected
