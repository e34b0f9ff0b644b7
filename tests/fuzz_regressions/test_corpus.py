"""The fuzzer's corpus, seeds and findings on the ordinary build: what once passed passes still."""

from __future__ import annotations

import pytest

from fuzz import corpus
from fuzz.targets import DICTIONARIES, load


def failing(name: str, inputs: list[bytes]) -> list[bytes]:
    """Those that fail the target."""
    check = load(name).check
    found = []
    for one in inputs:
        try:
            check(one)
        except Exception:
            found.append(one)
    return found


@pytest.mark.parametrize("name", DICTIONARIES)
def test_the_corpus_passes(name: str) -> None:
    inputs = corpus.kept(name)
    assert inputs, f"fuzz/corpus/{name}.txt is empty"
    assert failing(name, inputs) == []


@pytest.mark.parametrize("name", DICTIONARIES)
def test_seeds_and_former_findings_pass(name: str) -> None:
    assert failing(name, [*load(name).seeds(), *corpus.findings(name)]) == []


def test_the_corpus_is_small() -> None:
    files = [*corpus.FOLDER.iterdir(), *corpus.FINDINGS.iterdir()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
