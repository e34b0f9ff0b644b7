"""Completion in shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import Ran, run


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.status, ran.stderr) == (0, "")
    assert f"_GYR_COMPLETE={shell}_complete" in ran.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_read_by_its_shell(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    script = tmp_path / "script"
    script.write_text(run("completion", shell).stdout, encoding="utf-8")
    done = subprocess.run([program, "-n", script], capture_output=True, text=True, check=False)
    assert Ran(done.returncode, done.stdout, done.stderr) == Ran(0, "", "")


def test_another_shell_is_refused() -> None:
    ran = run("completion", "tcsh")
    assert ran.status == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in ran.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gyr ca", "plain,call\n"),
        ("gyr completion z", "plain,zsh\n"),
        ("gyr call --show", "plain,--show-metadata\n"),
    ],
)
def test_what_is_completed(words: str, expected: str) -> None:
    environment = {
        **os.environ,
        "_GYR_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gyrfalcon.cli"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert Ran(done.returncode, done.stdout, done.stderr) == Ran(0, expected, "")
