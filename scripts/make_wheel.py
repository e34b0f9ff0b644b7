"""Makes the self-contained wheel in dist/ and proves it out of reach of the system's libnghttp2.

    python scripts/make_wheel.py

auditwheel (Linux) or delocate (macOS) puts libnghttp2 inside. The wheel is then installed into an
environment of its own, which serves and makes one call of each kind with it.
"""

from __future__ import annotations

import ctypes.util
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from install_package import ROOT, build, run

DIST = ROOT / "dist"
PROBE = Path(__file__).with_name("probe_wheel.py")


def repair(wheel: Path, folder: Path) -> Path:
    """The wheel with the libraries that it is linked with inside it, in DIST."""
    if sys.platform == "darwin":
        run("delocate-wheel", "--wheel-dir", folder, wheel)
    else:
        run("auditwheel", "repair", "--wheel-dir", folder, wheel)
    (repaired,) = folder.glob("*.whl")
    DIST.mkdir(exist_ok=True)
    return repaired.replace(DIST / repaired.name)


def system_libraries() -> list[str]:
    """The files that the loader would take for libnghttp2."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    lines = [line for line in listed.stdout.splitlines() if "libnghttp2.so" in line]
    return [line.rpartition("=> ")[2] for line in lines]


def without_library(command: list[str]) -> list[str]:
    """The command in a mount namespace where the system's libnghttp2 is an empty file."""
    if sys.platform != "linux" or ctypes.util.find_library("nghttp2") is None:
        return command
    enter = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode:
        print("namespaces are not allowed here: only what is loaded is checked, nothing is hidden")
        return command
    hide = "".join(f"mount --bind /dev/null {path} && " for path in system_libraries())
    return [*enter, "sh", "-c", f'{hide}exec "$@"', "sh", *command]


def prove(wheel: Path, folder: Path) -> None:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    run(*without_library([str(python), "-I", str(PROBE)]))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, part) for part in ("built", "repaired", "environment")]
        for folder in folders:
            folder.mkdir()
        built, repaired, environment = folders
        wheel = repair(build(built), repaired)
        prove(wheel, environment)
    print(f"{wheel.relative_to(ROOT)}: installs, serves, brings its own libnghttp2")


if __name__ == "__main__":
    main()
