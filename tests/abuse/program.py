"""A program of its own that answers lines with JSON, as tests see it."""

from __future__ import annotations

import json
import subprocess
import sys
from tempfile import TemporaryFile
from typing import Any

from tests.endurance.programs import ROOT


class Program:
    """`python -m MODULE ARGUMENTS`, with every warning an error. What it logs is kept."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._log = TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def read_line(self) -> str:
        """What it prints next."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, line: str) -> dict[str, Any]:
        """What it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self.read_line())
        return found

    def stop(self) -> str:
        """End it; what it logged."""
        self._process.communicate()
        with self._log:
            self._log.seek(0)
            log = self._log.read()
        assert self._process.returncode == 0, log
        return log
