"""The plugin, run by protoc, writes exactly the golden files (`regenerate.py` writes them)."""

from __future__ import annotations

import ast

import pytest

from tests.codegen.regenerate import GOLDEN, golden_texts


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return golden_texts()


def _stored() -> list[str]:
    return sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.golden"))


def test_files_are_the_golden_ones(written: dict[str, str]) -> None:
    assert sorted(written) == _stored()


@pytest.mark.parametrize("name", _stored())
def test_text_is_golden(name: str, written: dict[str, str]) -> None:
    assert written[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_output_is_the_same_every_time(written: dict[str, str]) -> None:
    assert golden_texts() == written


@pytest.mark.parametrize("name", _stored())
def test_only_the_runtime_and_messages_are_imported(name: str) -> None:
    tree = ast.parse((GOLDEN / name).read_text(encoding="utf-8"))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module or ''}.{alias.name}" for alias in node.names}
    others = {module for module in modules if not module.endswith("_pb2")}
    assert {module.rpartition(".")[0] or module for module in others} <= {
        "__future__",
        "collections.abc",
        "gyrfalcon",
        "importlib",
        "typing",
    }
