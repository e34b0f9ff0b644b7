"""The golden files: what the plugin writes for the protos here. Run this to write them anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROTOS = HERE / "protos"
VENDOR = HERE / "vendor"
GOLDEN = HERE / "golden"

PLUGIN = Path(sysconfig.get_path("scripts")) / "protoc-gen-gyrfalcon"

# Modules in full for one way to import; for the others, one at the root and one far below it.
_SOME = ("order_management_gyr.py", "shop/v1/cart_gyr.py")
_CASES = {"relative": ("**/*_gyr.py",), "absolute": _SOME, "auto": _SOME}


def protos() -> list[str]:
    """The names of the protos, as protoc knows them."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def run_protoc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the protoc of grpcio-tools with the protos and the plugin in reach."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"--proto_path={PROTOS}", f"--proto_path={VENDOR}"),
            f"--plugin=protoc-gen-gyrfalcon={PLUGIN}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def golden_texts() -> dict[str, str]:
    """What the golden files have to say: their texts, by their paths below GOLDEN."""
    texts = {}
    for imports, patterns in _CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            done = run_protoc(f"--gyrfalcon_out=imports={imports}:{folder}", *protos())
            if done.returncode or done.stderr:
                raise RuntimeError(f"protoc: {done.stderr}")
            for path in (path for pattern in patterns for path in Path(folder).glob(pattern)):
                name = f"{imports}/{path.relative_to(folder).as_posix()}.golden"
                texts[name] = path.read_text(encoding="utf-8")
    return texts


def main() -> None:
    """Write the golden files."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, text in golden_texts().items():
        path = GOLDEN / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
