"""Runs the protoc that grpcio-tools brings."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from .errors import GenerationError


def run_protoc(
    protos: Sequence[Path], proto_paths: Sequence[Path], out: Path
) -> tuple[list[FileDescriptorProto], str]:
    """Write the message modules of ``protos`` and their stubs into ``out``.

    Returns the descriptors of these files and of everything they import, with comments, and the
    warnings that protoc printed. Raises GenerationError with protoc's own words when it fails.
    """
    return _run(protos, proto_paths, out, f"--python_out={out}", f"--pyi_out={out}")


def read_descriptors(
    protos: Sequence[Path], proto_paths: Sequence[Path]
) -> list[FileDescriptorProto]:
    """The descriptors of ``protos`` and of everything they import, with comments.

    Raises GenerationError with protoc's own words when it fails.
    """
    with tempfile.TemporaryDirectory(prefix="gyrfalcon-") as folder:
        return _run(protos, proto_paths, Path(folder))[0]


def _run(
    protos: Sequence[Path], proto_paths: Sequence[Path], out: Path, *options: str
) -> tuple[list[FileDescriptorProto], str]:
    if importlib.util.find_spec("grpc_tools") is None:
        raise GenerationError(
            "gyr needs protoc to read .proto files; grpcio-tools brings it, and is not installed: "
            "pip install 'gyrfalcon[codegen]'"
        )
    descriptors = out / "descriptors.binpb"
    command = [
        # -P: a folder "google" or "grpc_tools" where the command runs must not hide the packages.
        *(sys.executable, "-P", "-m", "grpc_tools.protoc"),
        *(f"--proto_path={path}" for path in proto_paths),
        *options,
        *(f"--descriptor_set_out={descriptors}", "--include_imports", "--include_source_info"),
        *map(str, protos),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f"it ended with status {done.returncode} and said nothing"
        raise GenerationError(f"protoc failed:\n{said}")
    files = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    descriptors.unlink()
    return list(files), done.stderr.strip()
