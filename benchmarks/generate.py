"""Makes the checked-in code of every peer from ``protos/bench.proto``.

Run as ``python -m benchmarks.generate`` with the ``codegen`` extra installed. What another
generator makes is left as it is where that generator is not installed; the Go plugins are those
that ``peers/go/go.mod`` pins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = "benchmarks/protos/bench.proto"
GO_FOLDER = ROOT / "benchmarks" / "peers" / "go"
UNCHECKED = """\
# mypy: ignore-errors
# pyright: basic, reportIncompatibleMethodOverride=false
# ruff: noqa
# fmt: off
"""
"""Code of other generators is held to their rules, not to ours."""


@dataclass(frozen=True, slots=True)
class Made:
    """What one generator makes, and how it is asked."""

    file: str
    options: tuple[str, ...]


OTHERS = {
    "": Made("bench_pb2_grpc.py", ("--grpc_python_out=.",)),  # comes with grpcio-tools
    "protoc-gen-grpclib_python": Made("bench_grpc.py", ("--grpclib_python_out=.",)),
    "protoc-gen-connectrpc": Made(
        "bench_connect.py", ("--connectrpc_out=.", "--connectrpc_opt=protobuf=google")
    ),
}
GO_PLUGINS = (
    "google.golang.org/protobuf/cmd/protoc-gen-go",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
)


def generate_gyrfalcon() -> None:
    """Messages for all Python peers, and gyrfalcon's services."""
    gyr = (sys.executable, "-m", "gyrfalcon.cli", "generate")
    subprocess.run([*gyr, "-I", ".", "--out", ".", PROTO], cwd=ROOT, check=True)


def generate_others() -> None:
    """The services of grpcio, grpclib and connectrpc."""
    scripts = str(Path(sys.executable).parent)
    for plugin, made in OTHERS.items():
        if plugin and shutil.which(plugin, path=scripts) is None:
            print(f"{plugin} is not installed: {made.file} is left as it is")
            continue
        protoc(*made.options, path=scripts)
        path = ROOT / "benchmarks" / "protos" / made.file
        path.write_text(UNCHECKED + path.read_text())


def generate_go() -> None:
    """Messages and services of grpc-go, in ``peers/go/benchpb``."""
    with tempfile.TemporaryDirectory() as plugins:
        subprocess.run(
            ["go", "build", "-o", plugins + os.sep, *GO_PLUGINS], cwd=GO_FOLDER, check=True
        )
        (GO_FOLDER / "benchpb").mkdir(exist_ok=True)
        protoc(
            f"--go_out={GO_FOLDER}",
            "--go_opt=module=gyrfalcon.invalid/bench",
            f"--go-grpc_out={GO_FOLDER}",
            "--go-grpc_opt=module=gyrfalcon.invalid/bench",
            path=plugins,
        )


def protoc(*options: str, path: str) -> None:
    """Run protoc in the root of the repository, with plugins from the folder `path`."""
    environment = os.environ | {"PATH": path + os.pathsep + os.environ.get("PATH", "")}
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *options, PROTO],
        cwd=ROOT,
        env=environment,
        check=True,
    )


def main() -> None:
    generate_gyrfalcon()
    generate_others()
    if shutil.which("go"):
        generate_go()
    else:
        print("Go is not installed: the code in benchmarks/peers/go/benchpb is left as it is")


if __name__ == "__main__":
    main()
