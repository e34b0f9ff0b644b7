"""Makes the checked-in generated code again, with the installed generator.

    python scripts/generate.py

Writes beside each .proto of examples/ and retail/, then the benchmarks' own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [
    ROOT / name for name in ("examples/greeter/proto", "examples/route_guide/proto", "retail/proto")
]


def main() -> None:
    gyr = [sys.executable, "-m", "gyrfalcon.cli", "generate"]
    commands: list[list[str | Path]] = [
        [*gyr, "-I", folder, "--out", folder, *sorted(folder.glob("*.proto"))] for folder in FOLDERS
    ]
    commands.append([sys.executable, "-m", "benchmarks.generate"])
    for command in commands:
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
