"""Other people's programs in Go, at pinned versions: installed from their modules into .tools/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools"
REQUIRED = "GYRFALCON_REQUIRE_GO"
"""An environment variable: where it is set, a program that is not there is a failure."""
INSTALLED = "GYRFALCON_TOOLS"
"""An environment variable: a folder with programs that need not be installed, of these versions."""


@dataclass(frozen=True)
class GoTool:
    """A command of a Go module."""

    package: str
    """What `go install` takes, without the version."""
    version: str

    @property
    def name(self) -> str:
        return self.package.rpartition("/")[2]

    def find(self) -> Path:
        """The program, installed where it is not; it needs Go and, the first time, a network.

        Where there is no getting it, says so and ends this program: with success, unless it is
        required.
        """
        ready = shutil.which(self.name, path=os.environ.get(INSTALLED, ""))
        path = Path(ready) if ready else TOOLS / self.version / self.name
        if path.exists():
            return path
        if shutil.which("go") is None:
            self._leave("it is written in Go, and there is no `go` on this machine")
        print(f"installing {self.package}@{self.version}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["go", "install", f"{self.package}@{self.version}"],
            env=os.environ | {"GOBIN": str(path.parent)},
            cwd=TOOLS,
            check=False,
        )
        if done.returncode:
            self._leave(f"`go install` could not get it; {INSTALLED}=FOLDER names one that has it")
        return path

    def _leave(self, reason: str) -> NoReturn:
        print(f"NOT RUN: {self.name} {self.version}: {reason}", flush=True)
        sys.exit(1 if os.environ.get(REQUIRED) else 0)
