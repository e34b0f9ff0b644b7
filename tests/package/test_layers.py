"""Which room imports which, as [tool.importlinter] in pyproject.toml has it, in native code too.

import-linter reads Python files and sees no import of a native module; here each file is read, and
only its own imports count.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
}
FILES = sorted(
    path.relative_to(SOURCE)
    for suffix in ("py", "pyi", "pyx", "pxd")
    for path in SOURCE.rglob(f"*.{suffix}")
)
TRANSPORT, CLIENT, BLOCKING = "gyrfalcon.transport", "gyrfalcon.client", "gyrfalcon.blocking"
# C's own ways to the same things, besides Python modules of these names.
C_CLOCKS_AND_IO = re.compile(
    r"\b(clock_gettime|gettimeofday|pthread_\w+)\b|\b(posix|libc)\.(time|select|unistd|signal)\b"
    r'|"(time|pthread|unistd|poll|sys/(socket|time|epoll|select))\.h"'
)
# What goes past the clock of a network, which tests move.
TIME = re.compile(
    r"loop\.(time|call_later|call_at)\(|\bmonotonic\(\)(?!'s)"
    r"|asyncio\.(timeout_at\(|timeout\((?!None)|wait_for\(|sleep\((?!0\)))"
)
NATIVE_IMPORT = re.compile(
    r"""^[ \t]*(?:
        from[ \t]+(?P<base>[\w.]+)[ \t]+c?import[ \t]+(?:\((?P<several>[^)]*)\)|(?P<names>.*))
        |c?import[ \t]+(?P<modules>[\w., \t]+)
    )""",
    re.MULTILINE | re.VERBOSE,
)


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def absolute(path: Path, base: str) -> str:
    """The module that `base`, perhaps relative, means in a file."""
    dots = len(base) - len(base.lstrip("."))
    if not dots:
        return base
    above = path.parts[: len(path.parts) - dots]
    return ".".join((*above, base[dots:])).rstrip(".")


def python_imports(path: Path, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, "." * node.level + (node.module or ""))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def native_imports(path: Path, text: str) -> Iterator[str]:
    for found in NATIVE_IMPORT.finditer(text):
        names = found["several"] or found["names"] or found["modules"]
        for name in re.sub(r"#.*", "", names).replace("\n", " ").split(","):
            word = name.partition(" as ")[0].strip()
            if word:
                yield f"{absolute(path, found['base'])}.{word}" if found["base"] else word


def imports(path: Path) -> set[str]:
    """Every name that a file imports, from its module down: "gyrfalcon.rpc.status.StatusCode"."""
    text = (SOURCE / path).read_text(encoding="utf-8")
    read = python_imports if path.suffix in (".py", ".pyi") else native_imports
    return set(read(path, text))


def within(name: str, modules: list[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def levels() -> dict[str, tuple[int, bool]]:
    """Room to (its layer counted from the top, whether it may import its neighbours)."""
    found = {}
    for level, line in enumerate(CONTRACTS["layers"]["layers"]):
        for room in re.findall(r"[\w.]+", line):
            found[room] = (level, ":" in line)
    return found


def room_of(name: str) -> str | None:
    return next((room for room in levels() if within(name, [room])), None)


def layer_of(path: Path) -> int:
    """The layer of a file, counted from the top; -1 for the package's own files."""
    room = room_of(module_of(path))
    return -1 if room is None else levels()[room][0]


def test_every_room_has_its_layer() -> None:
    rooms = {f"gyrfalcon.{path.parts[1]}" for path in FILES if len(path.parts) > 2}
    assert rooms - set(levels()) == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_downwards_only(path: Path) -> None:
    room = room_of(module_of(path))
    if room is None:
        return  # the package's own __init__, which gathers the public names
    level, sociable = levels()[room]
    upwards = []
    for name in imports(path):
        other = room_of(name)
        if other is None:
            # The package itself gathers the public names of rooms above: for tools and users.
            if level >= levels()[BLOCKING][0] and re.fullmatch(r"gyrfalcon(\.[^_.]\w*)?", name):
                upwards.append(name)
        elif other != room:
            other_level = levels()[other][0]
            if other_level < level or (other_level == level and not sociable):
                upwards.append(name)
    assert upwards == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if layer_of(path) > levels()[TRANSPORT][0]], ids=str
)
def test_below_transport_nothing_waits_or_reads_a_clock(path: Path) -> None:
    forbidden = CONTRACTS["sans-io"]["forbidden_modules"]
    text = (SOURCE / path).read_text(encoding="utf-8")
    assert [name for name in imports(path) if within(name, forbidden)] == []
    assert [found[0] for found in C_CLOCKS_AND_IO.finditer(text)] == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if 0 <= layer_of(path) < levels()[BLOCKING][0]], ids=str
)
def test_tools_and_services_use_public_names(path: Path) -> None:
    forbidden = CONTRACTS["public-names"]["forbidden_modules"]
    assert [name for name in imports(path) if within(name, forbidden)] == []


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if levels()[CLIENT][0] <= layer_of(path) <= levels()[TRANSPORT][0]
        # The clock, and what are loops themselves.
        and path.stem not in ("clock", "blocking", "janitor", "lingering")
    ],
    ids=str,
)
def test_nobody_but_the_clock_and_the_loops_reads_the_time_or_sets_timers(path: Path) -> None:
    text = (SOURCE / path).read_text(encoding="utf-8")
    assert [found[0] for found in TIME.finditer(text)] == []


def test_imports_are_found_in_native_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)
    path = Path("gyrfalcon", "wire", "native.pyx")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(
        "import a, b.c as d\n"
        "from .near cimport (\n    one,  # why\n    two as second,\n)\n"
        "from ..rpc.status import Status\n"
        "def f():\n    from .. import rpc\n"
        'cdef extern from "x.h":\n    pass\n',
        encoding="utf-8",
    )
    assert imports(path) == {
        "a",
        "b.c",
        "gyrfalcon.wire.near.one",
        "gyrfalcon.wire.near.two",
        "gyrfalcon.rpc.status.Status",
        "gyrfalcon.rpc",
    }
