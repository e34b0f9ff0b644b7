"""The pages of the documentation, and the programs that are printed in them.

The Python blocks of a page, put together in order, are one program, and its text blocks are what it
prints. A block after a line such as "`server.py`:" is a file beside it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gyrfalcon.codegen.generation import generate

ROOT = Path(__file__).parents[2]
TUTORIAL = "docs/tutorial/README.md"
HELPERS = "docs/how-to/README.md"
# These are followed step by step, commands included, by tests of their own.
FOLLOWED = {"README.md", TUTORIAL}

_BLOCK = re.compile(
    r"(?:^`(?P<name>[\w./-]+)`:\n\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Page:
    path: str
    """Relative to the project."""
    files: dict[str, str]
    """Texts of the named blocks."""
    program: str
    """The unnamed Python blocks."""
    output: str
    """The text blocks."""

    @property
    def module(self) -> str:
        """The name of the program as a file."""
        return self.path.removesuffix(".md").replace("/", "_").replace("-", "_") + ".py"


def read_page(path: str) -> Page:
    files: dict[str, str] = {}
    python: list[str] = []
    text: list[str] = []
    for block in _BLOCK.finditer((ROOT / path).read_text(encoding="utf-8")):
        name, language, code = block["name"], block["language"], block["code"]
        if name is not None:
            files[name] = code
        elif language == "python":
            python.append(code)
        elif language == "text":
            text.append(code)
    return Page(path, files, "\n\n".join(python), "".join(text))


def all_pages() -> list[str]:
    """Every page, as a path relative to the project."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
    return ["README.md", *found]


def with_programs() -> list[Page]:
    """The pages whose programs are run here."""
    pages = [read_page(path) for path in all_pages() if path not in FOLLOWED]
    return [page for page in pages if page.program]


def make_library(folder: Path) -> None:
    """The tutorial's package, with its service, and the helpers of the how-tos."""
    proto = folder / "library" / "proto"
    proto.mkdir(parents=True)
    (folder / "library" / "__init__.py").touch()
    (proto / "__init__.py").touch()
    for page in (TUTORIAL, HELPERS):
        for name, text in read_page(page).files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    definition = folder / "protos" / "library.proto"
    generate([definition], proto, proto_paths=[definition.parent])


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python there, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def environment() -> dict[str, str]:
    """This one's; relative folders in it mean what they mean here."""
    found = dict(os.environ)
    for name in {"PYTHONPATH", "MYPYPATH"} & found.keys():
        paths = [str(Path(path).resolve()) for path in found[name].split(os.pathsep) if path]
        found[name] = os.pathsep.join(paths)
    return found
