"""Installs what the package needs, without the package, into the environment that runs this.

    python scripts/dependencies.py [EXTRA | GROUP]...

Takes the runtime dependencies, those of the extras named and of the dependency groups named, all as
pyproject.toml has them; "build" stands for the build requirements.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def requirements(pyproject: dict[str, Any], wanted: list[str]) -> list[str]:
    """Flat requirement strings, each once; an extra of the project itself is expanded in place."""
    project = pyproject["project"]
    known: dict[str, list[str]] = {
        "build": pyproject["build-system"]["requires"],
        **project["optional-dependencies"],
        **pyproject["dependency-groups"],
    }
    own = re.compile(rf"{project['name']}\[([\w,]+)\]")
    found = dict.fromkeys(project["dependencies"])
    todo = list(wanted)
    for name in todo:
        if name not in known:
            sys.exit(f"dependencies.py: pyproject.toml has no extra or group {name!r}")
        for requirement in known[name]:
            extras = own.fullmatch(requirement)
            if extras is None:
                found[requirement] = None
            else:
                todo += [extra for extra in extras[1].split(",") if extra not in todo]
    return list(found)


def main() -> None:
    pyproject = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    wanted = requirements(pyproject, sys.argv[1:])
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)


if __name__ == "__main__":
    main()
