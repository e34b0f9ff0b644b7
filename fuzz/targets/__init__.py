"""What is fuzzed. A target is a module with `check(data)`, which raises when what the input made
the code do is wrong, and `seeds()`, inputs to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import NamedTuple

DICTIONARIES = {
    "server": "frames",
    "client": "frames",
    "framing": "messages",
    "headers": "headers",
    "timeouts": "headers",
    "grammar": None,
}
"""The targets, each with the dictionary that its engine gets."""

FRAMED = ("server", "client")
"""Targets whose inputs are frames behind one byte of options."""


class Target(NamedTuple):
    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


def load(name: str) -> Target:
    """The target of that name. Raises KeyError for another."""
    if name not in DICTIONARIES:
        raise KeyError(f"there is no target {name!r}: they are {', '.join(DICTIONARIES)}")
    module = import_module(f"fuzz.targets.{name}")
    return Target(name, module.check, module.seeds)
