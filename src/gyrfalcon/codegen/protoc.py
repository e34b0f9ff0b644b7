"""Runs the protoc that grpcio-tools brings."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
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
    if importlib.util.find_spec("grpc_tools") is None:
        raise GenerationError(
            "gyr generate needs protoc, which grpcio-tools brings, and grpcio-tools is not "
            "installed: pip install 'gyrfalcon[codegen]'"
        )
    descriptors = out / "descriptors.binpb"
    command = [
        # -P: a folder "google" or "grpc_tools" where the command runs must not hide the packages.
        *(sys.executable, "-P", "-m", "grpc_tools.protoc"),
        *(f"--proto_path={path}" for path in proto_paths),
        *(f"--python_out={out}", f"--pyi_out={out}", f"--descriptor_set_out={descriptors}"),
        *("--include_imports", "--include_source_info"),
        *map(str, protos),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f"it ended with status {done.returncode} and said nothing"
        raise GenerationError(f"protoc failed:\n{said}")
    files = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    descriptors.unlink()
    return list(files), done.stderr.strip()
