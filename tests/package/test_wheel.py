"""What is installed: the built wheel, complete and without the means of its making."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import distribution, entry_points, version
from pathlib import Path

import pytest

import gyrfalcon

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "gyrfalcon"
INSTALLED = Path(gyrfalcon.__file__).parent
NATIVE = sorted(path.relative_to(SOURCE).with_suffix("") for path in SOURCE.rglob("*.pyx"))


def listed() -> set[str]:
    files = distribution("gyrfalcon").files or []
    return {str(file) for file in files if file.parts[0] == "gyrfalcon" and file.suffix != ".pyc"}


def test_the_tests_run_against_the_wheel() -> None:
    assert not INSTALLED.is_relative_to(ROOT / "src")
    assert ROOT / "src" not in [Path(name).resolve() for name in sys.path]


def test_it_holds_every_module_and_what_type_checkers_read() -> None:
    suffix = EXTENSION_SUFFIXES[0]
    kept = {path for kind in ("*.py", "*.pyi", "py.typed") for path in SOURCE.rglob(kind)}
    expected = {f"gyrfalcon/{path.relative_to(SOURCE)}" for path in kept}
    expected |= {f"gyrfalcon/{module}{suffix}" for module in NATIVE}
    assert listed() == expected
    assert "gyrfalcon/py.typed" in expected


@pytest.mark.parametrize("module", NATIVE, ids=str)
def test_every_native_module_has_its_types_and_imports(module: Path) -> None:
    assert (SOURCE / module).with_suffix(".pyi").is_file()
    importlib.import_module(".".join(("gyrfalcon", *module.parts)))


def test_the_version_is_that_of_the_distribution() -> None:
    assert gyrfalcon.__version__ == version("gyrfalcon")


@pytest.mark.parametrize("name", ["gyr", "protoc-gen-gyrfalcon"])
def test_the_commands_can_be_loaded(name: str) -> None:
    (command,) = entry_points(group="console_scripts", name=name)
    assert callable(command.load())


def test_protobuf_is_all_that_the_runtime_needs() -> None:
    requirements = distribution("gyrfalcon").requires or []
    needed = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert [re.split(r"[^\w-]", requirement)[0] for requirement in needed] == ["protobuf"]


def test_the_public_names_load_protobuf_and_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import gyrfalcon\n"
        "for name in gyrfalcon.__all__: getattr(gyrfalcon, name)\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})\n"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    # Cython keeps the types that its modules share in a module of its own.
    loaded = {name for name in ran.stdout.split() if not name.startswith(("_cython", "cython_"))}
    # The empty parent of backports.zstd, which is looked for and not loaded.
    assert loaded - sys.stdlib_module_names - {"google", "gyrfalcon", "backports"} == set()
