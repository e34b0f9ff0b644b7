"""Compiles the package's Cython modules; everything that is static stands in pyproject.toml.

Every ``src/gyrfalcon/**/*.pyx`` becomes one extension module. Those under ``_core`` are linked with
libnghttp2; another module that needs it says so with ``# distutils: libraries = nghttp2`` on top.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = Path("src", "gyrfalcon")
NGHTTP2_NEEDED = (1, 52, 0)
COMPILING = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}
JOBS = os.cpu_count() or 1


def give_up(what: str, debian: str, fedora: str, macos: str) -> NoReturn:
    sys.exit(
        f"gyrfalcon cannot be built: {what}; install it with: "
        f"apt install {debian} (Debian, Ubuntu), dnf install {fedora} (Fedora), {macos} (macOS)"
    )


def give_up_nghttp2(what: str) -> NoReturn:
    give_up(what, "libnghttp2-dev", "libnghttp2-devel", "brew install libnghttp2")


def run(command: list[str]) -> str | None:
    """What the command prints, or None where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def compiler() -> list[str]:
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(command[0]) is None:
        give_up(f"there is no C compiler {command[0]!r}", "gcc", "gcc", "xcode-select --install")
    return command


def require_python_header() -> None:
    folder = sysconfig.get_path("include")
    if not Path(folder, "Python.h").exists():
        debian = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        give_up(f"Python.h is not in {folder}", debian, "python3-devel", "brew install python")


def find_nghttp2() -> tuple[list[str], list[str]]:
    """The folders of libnghttp2's header and of the library, where the compiler has to be told."""
    # Debian's libnghttp2-dev does not bring pkg-config along: the compiler alone has to do there.
    pkg_config = shlex.split(os.environ.get("PKG_CONFIG") or "pkg-config")
    version = run([*pkg_config, "--modversion", "libnghttp2"])
    flags: list[str] = []
    if version is not None:
        flags = shlex.split(run([*pkg_config, "--cflags", "--libs", "libnghttp2"]) or "")
    else:
        header = ["-E", "-dM", "-include", "nghttp2/nghttp2ver.h", "-x", "c", os.devnull]
        macros = run([*compiler(), *header]) or ""
        found = re.search(r'define NGHTTP2_VERSION "([^"]+)"', macros)
        if found is None:
            give_up_nghttp2("the header nghttp2/nghttp2.h is missing")
        version = found[1]
    version = version.strip()
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < NGHTTP2_NEEDED:
        needed = ".".join(map(str, NGHTTP2_NEEDED))
        give_up_nghttp2(f"libnghttp2 is {version} here and must be {needed} or newer")
    headers, libraries = ([flag[2:] for flag in flags if flag[:2] == kind] for kind in ("-I", "-L"))
    return headers, libraries


def extensions() -> list[Extension]:
    compiler()
    require_python_header()
    headers, libraries = find_nghttp2()
    modules = []
    for source in sorted(PACKAGE.rglob("*.pyx")):
        name = ".".join(source.relative_to("src").with_suffix("").parts)
        modules.append(
            Extension(
                name,
                [str(source)],
                include_dirs=headers,
                library_dirs=libraries,
                libraries=["nghttp2"] if "_core" in source.parts else [],
                # -g0 after the interpreter's own -g: a wheel is five times as big with it.
                extra_compile_args=["-O3", "-g0"],
            )
        )
    return translate(modules)


def translate(modules: list[Extension]) -> list[Extension]:
    from Cython.Build import cythonize  # not there when only the metadata is asked for

    translated: list[Extension] = cythonize(
        modules,
        build_dir=os.path.join("build", "cython"),
        # Workers are forked; where processes are spawned they would run this file again.
        nthreads=JOBS if sys.platform == "linux" and len(modules) > 1 else 0,
        quiet=True,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
        },
    )
    return translated


class ParallelBuild(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or JOBS


setup(
    ext_modules=extensions() if COMPILING & set(sys.argv[1:]) else [],
    cmdclass={"build_ext": ParallelBuild},
)
