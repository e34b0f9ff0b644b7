"""Runs tests on native modules built with AddressSanitizer and UndefinedBehaviorSanitizer.

    python scripts/sanitized_tests.py [pytest's arguments]

The modules are built by gcc (or $CC) in build/sanitize, beside the ordinary build and without
touching it. What is undefined, or touches memory that is not its own, ends the run with a report.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE = ROOT / "build" / "sanitize"
PACKAGE = BASE / "package"
# Cython adds zero to a null pointer where a function gets no arguments.
SANITIZERS = (
    "-fsanitize=address,undefined -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined"
)
# These weigh the process, and the sanitiser weighs more than what they look for.
WEIGHING = ["tests/core/test_leaks.py"]


def compiler() -> list[str]:
    """The command, with its words: "ccache gcc" has two."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def library(name: str) -> str:
    """The path of one of the compiler's own libraries."""
    command = compiler()
    asked = [*command, f"-print-file-name={name}"]
    path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(path).is_absolute():
        remedy = "install libasan and libubsan (Debian: with gcc)"
        sys.exit(f"{shlex.join(command)} has no {name}: {remedy}")
    return str(Path(path).resolve())


def build() -> None:
    environment = {
        **os.environ,
        "CFLAGS": f"{SANITIZERS} -fno-omit-frame-pointer",
        "LDFLAGS": SANITIZERS,
        "GYRFALCON_COMPILE_ARGS": "-O1 -g1",
    }
    where = ["--build-base", str(BASE / "temporary"), "--build-lib", str(PACKAGE)]
    command = [sys.executable, "setup.py", "-q", "build", *where]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def environment() -> dict[str, str]:
    """For Python with the sanitised modules: their runtime is loaded before everything else."""
    runtime = [library("libasan.so"), library("libubsan.so"), library("libstdc++.so")]
    return {
        **os.environ,
        "PYTHONPATH": str(PACKAGE),
        # libstdc++ beside it: the runtime looks for its __cxa_throw when it starts.
        "LD_PRELOAD": ":".join(runtime),
        # Each object is a block of malloc's: the sanitiser does not see into arenas.
        "PYTHONMALLOC": "malloc",
        # CPython does not free all that it holds when it ends; leaks are counted by
        # tests/core/test_leaks.py and tests/endurance, on the ordinary build.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def main() -> int:
    build()
    arguments = sys.argv[1:] or ["tests/core"]
    deselected = [f"--deselect={path}" for path in WEIGHING]
    command = [sys.executable, "-m", "pytest", *deselected, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
