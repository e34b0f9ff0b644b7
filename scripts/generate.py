"""Makes the checked-in generated code again, with the installed generator.

    python scripts/generate.py

Writes beside each .proto of examples/, retail/, tests/conformance/, tests/interop/ and
gyrfalcon/services/, then the benchmarks' own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ROOT / "src/gyrfalcon/services/proto"
FOLDERS = [
    ROOT / name
    for name in (
        "examples/greeter/proto",
        "examples/route_guide/proto",
        "retail/proto",
        "tests/conformance/proto",
        "tests/interop/protos",
    )
]
POOL = "from gyrfalcon.services.proto import pool as _descriptor_pool"


def make_portable(text: str) -> str:
    """A message module of the package's own, for every protobuf that the package runs on.

    protoc has it refuse a runtime that is older than protoc, and warn where that is a major newer;
    and it would put its messages into the pool that programs share.
    """
    text, checks = re.subn(r"(?s)_runtime_version\.Validate\w+\(.*?\n\)\n", "", text)
    text, imports = re.subn(r"from google\.protobuf import runtime_version .*\n", "", text)
    text, pools = re.subn(r"from google\.protobuf import descriptor_pool .*", POOL, text)
    if (checks, imports, pools) != (1, 1, 1):
        sys.exit("generate.py: protoc's message modules look different now; see make_portable()")
    return text


def main() -> None:
    gyr = [sys.executable, "-m", "gyrfalcon.cli", "generate"]
    commands: list[list[str | Path]] = [
        [*gyr, "-I", folder, "--out", folder, *sorted(folder.rglob("*.proto"))]
        for folder in (*FOLDERS, SERVICES)
    ]
    commands.append([sys.executable, "-m", "benchmarks.generate"])
    for command in commands:
        subprocess.run(command, cwd=ROOT, check=True)
    for module in SERVICES.rglob("*_pb2.py"):
        module.write_text(make_portable(module.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
