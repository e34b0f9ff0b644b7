"""One target under atheris, which is libFuzzer: the process that `python -m fuzz` starts.

    LD_PRELOAD=.../asan_with_fuzzer.so python -m fuzz.engine TARGET [libFuzzer's arguments]

The native modules have to be those of fuzz/build.py; the Python ones are instrumented when loaded.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzz.build import BASE

# It has no types, and is not installed where nobody fuzzes.
atheris: Any = import_module("atheris")

# Their coverage is of no use here, and costs more than all else.
ELSEWHERE = ["gyrfalcon.cli", "gyrfalcon.codegen", "gyrfalcon.services", "gyrfalcon.telemetry"]


def itself(name: str) -> Path:
    """A program that is this one: to merge corpora libFuzzer starts itself anew."""
    path = BASE / f"engine-{name}"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fuzz.engine {name} "$@"\n')
    path.chmod(0o755)
    return path


def main() -> None:
    name = sys.argv[1]
    with atheris.instrument_imports(include=["gyrfalcon"], exclude=ELSEWHERE):
        from fuzz.targets import FRAMED, load

        target = load(name)
        # Loads the rest of what the target uses, and shows that it works at all.
        for seed in target.seeds():
            target.check(seed)
    options = {}
    if name in FRAMED:
        from fuzz.mutators import FrameMutator

        options["custom_mutator"] = FrameMutator(atheris.Mutate)
    atheris.Setup([str(itself(name)), *sys.argv[2:]], target.check, **options)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
