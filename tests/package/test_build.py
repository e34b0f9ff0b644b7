"""The build: what it says when it cannot, and what the source distribution carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REMEDY = (
    "install it with: apt install libnghttp2-dev (Debian, Ubuntu), "
    "dnf install libnghttp2-devel (Fedora), brew install libnghttp2 (macOS)\n"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the build reads: it writes beside its sources."""
    copy = tmp_path / "project"
    unwanted = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", copy / "src", ignore=unwanted)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy)
    return copy


def program(folder: Path, body: str) -> str:
    """The path of a shell script."""
    path = folder / f"program{len(list(folder.iterdir()))}"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def build(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "setup.py", "build_ext"],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_the_header_one_line_names_the_package(project: Path, tmp_path: Path) -> None:
    nothing = program(tmp_path, "exit 1")
    ran = build(project, PKG_CONFIG=nothing, CC=nothing)
    assert ran.stderr == (
        f"gyrfalcon cannot be built: the header nghttp2/nghttp2.h is missing; {REMEDY}"
    )
    assert (ran.stdout, ran.returncode) == ("", 1)


@pytest.mark.parametrize("version", ["1.51.0", "1.9.2", "0.99"])
def test_an_old_library_is_named_with_its_version(
    project: Path, tmp_path: Path, version: str
) -> None:
    ran = build(project, PKG_CONFIG=program(tmp_path, f"echo {version}"))
    assert ran.stderr == (
        f"gyrfalcon cannot be built: libnghttp2 is {version} here and must be 1.52.0 or newer; "
        f"{REMEDY}"
    )
    assert (ran.stdout, ran.returncode) == ("", 1)


def test_without_pkg_config_an_old_header_is_found_out_by_the_compiler(
    project: Path, tmp_path: Path
) -> None:
    compiler = program(tmp_path, """echo '#define NGHTTP2_VERSION "1.43.0"'""")
    ran = build(project, PKG_CONFIG=str(tmp_path / "missing"), CC=compiler)
    assert "libnghttp2 is 1.43.0 here" in ran.stderr
    assert ran.returncode == 1


def test_without_a_compiler_one_line_names_the_package(project: Path) -> None:
    ran = build(project, CC="no-such-compiler")
    assert ran.stderr == (
        "gyrfalcon cannot be built: there is no C compiler 'no-such-compiler'; install it with: "
        "apt install gcc (Debian, Ubuntu), dnf install gcc (Fedora), "
        "xcode-select --install (macOS)\n"
    )


def test_the_source_distribution_needs_no_library_and_has_every_source(
    project: Path, tmp_path: Path
) -> None:
    nothing = program(tmp_path, "exit 1")
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, project],
        env={**os.environ, "PKG_CONFIG": nothing, "CC": nothing},
        capture_output=True,
        check=True,
    )
    (archive,) = tmp_path.glob("gyrfalcon-*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    kinds = {".py", ".pyi", ".pyx", ".pxd", ".typed"}
    sources = {path for path in (project / "src").rglob("*") if path.suffix in kinds}
    wanted = {str(path.relative_to(project)) for path in sources}
    assert wanted - names == set()
    assert {"setup.py", "pyproject.toml", "README.md", "CHANGELOG.md"} - names == set()
    assert [name for name in names if name.endswith((".so", ".c", ".pyc"))] == []
