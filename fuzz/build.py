"""The package with its native modules built for fuzzing, in build/fuzz/package: clang counts their
edges and comparisons, and AddressSanitizer and UndefinedBehaviorSanitizer watch them.

    python -m fuzz.build
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BASE = ROOT / "build" / "fuzz"
PACKAGE = BASE / "package"
# "Recover" is off: what is undefined ends the run as a crash does.
SANITIZERS = "-fsanitize=address,undefined,fuzzer-no-link"
# Cython adds zero to a null pointer where a function gets no arguments.
FLAGS = (
    f"{SANITIZERS} -fno-sanitize-recover=all -fno-sanitize=pointer-overflow -fno-omit-frame-pointer"
)


def find_clang() -> str:
    """The compiler: $CLANG, or the newest there is."""
    names = [os.environ.get("CLANG", "clang"), *(f"clang-{number}" for number in range(25, 12, -1))]
    for name in names:
        if shutil.which(name):
            return name
    sys.exit("fuzzing needs clang: install it with: apt install clang (Debian, Ubuntu)")


def build() -> Path:
    """The folder that is to stand first on PYTHONPATH."""
    clang = find_clang()
    environment = {
        **os.environ,
        "CC": clang,
        "LDSHARED": f"{clang} -shared",
        "CFLAGS": f"{FLAGS} -Wno-everything",
        "GYRFALCON_COMPILE_ARGS": "-O1 -g1",
    }
    where = ["--build-base", str(BASE / "temporary"), "--build-lib", str(PACKAGE)]
    command = [sys.executable, "setup.py", "-q", "build", *where]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return PACKAGE


if __name__ == "__main__":
    print(build())
