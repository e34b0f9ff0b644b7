"""Generated modules: what they are called, and the statements that import one from another."""

from __future__ import annotations

import enum
import itertools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .names import is_speakable

_INDENT = "    "


def module_name(proto: str, suffix: str) -> str:
    """The module that protoc makes of a proto file: ``a/b-c.proto``, ``_pb2`` -> ``a.b_c_pb2``.

    Dots in the file's name become folders, as in protoc's own Python generator.
    """
    base = proto.removesuffix(".protodevel").removesuffix(".proto")
    return base.replace("-", "_").replace("/", ".") + suffix


def module_path(module: str, extension: str = ".py") -> str:
    """The file of a module, relative to the output folder."""
    return module.replace(".", "/") + extension


def is_bundled(module: str) -> bool:
    """Whether a message module is protobuf's own, which is always imported from there.

    A generated copy of it would not have the same types.
    """
    return module.startswith("google.protobuf.")


class Imports(enum.Enum):
    """How generated modules import each other."""

    RELATIVE = "relative"
    """Relative: the output folder is a package, or is inside one."""
    ABSOLUTE = "absolute"
    """From the output folder, which is on ``sys.path``."""
    AUTO = "auto"
    """Either works when the program runs; type checkers see the output folder on their path."""


class Reader(enum.Enum):
    """Who reads a generated file."""

    INTERPRETER = enum.auto()
    """A module with a stub beside it."""
    CHECKER = enum.auto()
    """A stub."""
    BOTH = enum.auto()


@dataclass(frozen=True)
class Importer:
    """Writes the import statements of one generated module."""

    module: str
    """The module that imports; dotted, below the output folder."""
    imports: Imports
    is_local: Callable[[str], bool]
    """Whether a module lies in the same output folder; the others are imported absolutely."""
    reader: Reader = Reader.BOTH

    def is_static(self, module: str) -> bool:
        """Whether a statement can import ``module``, so that type checkers see what is in it."""
        return is_speakable(self._relative(module)[1] if self._is_relative(module) else module)

    def is_either(self, module: str) -> bool:
        """Whether the way to import ``module`` is chosen when the program runs."""
        return (
            self.is_local(module)
            and self.imports is Imports.AUTO
            and self.reader is not Reader.CHECKER
            and not self._is_relative(module)
        )

    def statements(self, bindings: dict[str, str]) -> list[str]:
        """Lines that bind each module (key) to a name (value)."""
        single = {m: name for m, name in bindings.items() if not self.is_either(m)}
        either = {m: name for m, name in bindings.items() if self.is_either(m)}
        lines = _sorted(self._bind(m, name, self._is_relative(m)) for m, name in single.items())
        if either:
            if lines:
                lines.append("")
            lines += self._branch(
                _sorted(self._bind(m, name, False) for m, name in either.items()),
                _sorted(self._bind(m, name, True) for m, name in either.items()),
            )
        return lines

    def from_import(self, module: str, names: str) -> list[str]:
        """Lines that import names (as written after ``import``) out of ``module``."""
        if self.is_either(module):
            return self._branch(
                [self._from(module, names, False)], [self._from(module, names, True)]
            )
        return [self._from(module, names, self._is_relative(module))]

    def _is_relative(self, module: str) -> bool:
        if not self.is_local(module) or self.imports is Imports.ABSOLUTE:
            return False
        # Below one folder of the output folder, a relative import works wherever that folder is.
        return self.imports is Imports.RELATIVE or self._shared(module) > 0

    def _shared(self, module: str) -> int:
        pairs = zip(self.module.split(".")[:-1], module.split(".")[:-1], strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

    def _relative(self, module: str) -> tuple[str, str]:
        shared = self._shared(module)
        dots = "." * (self.module.count(".") - shared + 1)
        return dots, ".".join(module.split(".")[shared:])

    def _bind(self, module: str, name: str, relative: bool) -> str:
        dots, path = self._relative(module) if relative else ("", module)
        if not is_speakable(path):
            return f"{name} = {_dynamic(dots, path)}"
        folder, _, last = path.rpartition(".")
        alias = last if name == last else f"{last} as {name}"
        return f"from {dots}{folder} import {alias}" if dots or folder else f"import {alias}"

    def _from(self, module: str, names: str, relative: bool) -> str:
        dots, path = self._relative(module) if relative else ("", module)
        if not is_speakable(path) and names == "*":
            public = f"vars({_dynamic(dots, path)}).items() if name[0] != '_'"
            return f"globals().update({{name: value for name, value in {public}}})"
        return f"from {dots}{path} import {names}"

    def _branch(self, absolute: list[str], relative: list[str]) -> list[str]:
        package = self.module.rpartition(".")[0]
        condition = f"__package__ == {_quoted(package)}" if package else "not __package__"
        if self.reader is Reader.BOTH:
            condition = f"TYPE_CHECKING or {condition}"
        return [
            f"if {condition}:",
            *(_INDENT + line for line in absolute),
            "else:",
            *(_INDENT + line for line in relative),
        ]


def _dynamic(dots: str, path: str) -> str:
    package = ", __package__" if dots else ""
    return f"importlib.import_module({_quoted(dots + path)}{package})"


def _quoted(text: str) -> str:
    return json.dumps(text)


def _sorted(statements: Iterable[str]) -> list[str]:
    """In the order that import sorters agree on; whole modules, then from the furthest folder."""
    return sorted(statements, key=_rank)


def _rank(statement: str) -> tuple[int, int, str]:
    match = re.match(r"from (\.*)", statement)
    if match is None:
        return 0 if statement.startswith("import ") else 2, 0, statement
    return 1, -len(match[1]), statement
