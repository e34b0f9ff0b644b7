"""The corpus as it is kept: a text file for each target, each line an input in base64."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
FINDINGS = Path(__file__).parent / "findings"
# A target's inputs are kept up to so many bytes, the shortest ones first.
MOST_BYTES = 200_000


def read(path: Path) -> list[bytes]:
    """The inputs of a file; none where there is none."""
    if not path.exists():
        return []
    return [base64.b64decode(line, validate=True) for line in path.read_bytes().splitlines()]


def write(path: Path, inputs: Iterable[bytes]) -> None:
    ordered = sorted(set(inputs), key=lambda one: (len(one), one))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(base64.b64encode(one) + b"\n" for one in ordered))


def kept(name: str) -> list[bytes]:
    """A target's corpus."""
    return read(FOLDER / f"{name}.txt")


def findings(name: str) -> list[bytes]:
    """Inputs that once failed a target: each has been mended since."""
    return read(FINDINGS / f"{name}.txt")


def cut(inputs: Iterable[bytes]) -> list[bytes]:
    """As many of them as are kept."""
    found, size = [], 0
    for one in sorted(set(inputs), key=lambda one: (len(one), one)):
        size += len(one) * 4 // 3 + 2
        if size > MOST_BYTES:
            break
        found.append(one)
    return found


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """As files, which engines read."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in inputs:
        (folder / hashlib.sha1(one).hexdigest()).write_bytes(one)


def files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
