"""Builds the project's wheel and installs it into the environment that runs this.

    python scripts/install_package.py

Uses the environment's own setuptools and Cython and the compiled files of the last build, so that a
change of one Python file costs seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def forget_removed_sources() -> None:
    """Drop built files without a source: setuptools would put them into the next wheel too."""
    source = ROOT / "src"
    for library in (ROOT / "build").glob("lib*"):
        for built in library.rglob("*"):
            relative = built.relative_to(library)
            if built.suffix == ".so":
                origin = source / relative.parent / f"{built.name.partition('.')[0]}.pyx"
            else:
                origin = source / relative
            if built.is_file() and not origin.exists():
                built.unlink()


def run(*command: str | Path) -> None:
    """Run in the project's folder, the environment's programs first; end here if it fails."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": programs}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def build(folder: Path) -> Path:
    """A wheel for this interpreter in the folder, linked with the system's libraries."""
    forget_removed_sources()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    run(*pip, "--wheel-dir", folder, ".")
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> None:
    pip = [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        run(*pip, "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    run(*pip, "check")


if __name__ == "__main__":
    main()
