"""Runs `gyr` here, or as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from gyrfalcon.cli.verbs import gyr

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """How a run of the command ended, and what it wrote."""

    status: int
    stdout: str
    stderr: str


def run(*arguments: str | Path, stdin: str = "") -> Ran:
    """`gyr` in this process."""
    done = CliRunner().invoke(gyr, [str(one) for one in arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """`gyr` as a process with pipes; use it in a `with` block."""
    given: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths if path)
    return subprocess.Popen(
        [sys.executable, "-m", "gyrfalcon.cli", *map(str, arguments)],
        text=True,
        env=environment,
        **(given | options),
    )


def run_process(*arguments: str | Path, **options: Any) -> Ran:
    """`gyr` as a process, to its end."""
    with start(*arguments, **options) as process:
        stdout, stderr = process.communicate()
    return Ran(process.returncode, stdout, stderr)
