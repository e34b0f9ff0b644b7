"""Adapts the message modules that protoc writes: their imports, and what checkers refuse in them.

protoc always imports from the output folder, in ``_pb2.py`` and ``_pb2.pyi`` alike. Its stubs
leave out type arguments and annotations that strict checking asks for, and names that Python's
grammar keeps for itself appear in them as they are, which no checker can read.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable

from .modules import Importer, Imports, Reader
from .names import is_speakable

_BUILTINS = ("bool", "bytes", "float", "int", "str")

_IMPORT = re.compile(r"(?:from (?P<folder>[^ ]+) )?import (?P<last>\w+_pb2) as (?P<name>\w+)")
_PUBLIC_IMPORT = re.compile(r"from (?P<module>[^ ]+_pb2) import (?P<names>.+)")
_DYNAMIC_IMPORT = re.compile(r"(?P<name>\w+) = importlib\.import_module\('(?P<module>[^']+)'\)")

_CLASS = re.compile(r"(?P<indent> *)class (?P<name>\w+)\(")
_DECLARATION = re.compile(r" *(?P<name>\w+): ")
_REEXPORT = re.compile(r"from [^ ]+ import (?P<name>\w+) as \w+")
# protoc's spelling of a type when its name, or its outer type's, is a keyword.
_BY_GLOBALS = re.compile(r"(?:\w+\.)?globals\(\)\['\w+'\](?:\.\w+)*")
_BY_GETATTR = re.compile(r"getattr\([\w.]+, '\w+'\)(?:\.\w+)*")


def module_text(text: str, module: str, imports: Imports, is_local: Callable[[str], bool]) -> str:
    """``_pb2.py``, with the imports of modules in the same output folder as ``imports`` says.

    Its classes name the module that they are really in, which pickling needs.
    """
    importer = Importer(module, imports, is_local, Reader.INTERPRETER)
    text = text.replace(f"(DESCRIPTOR, '{module}', _globals)", "(DESCRIPTOR, __name__, _globals)")
    lines = [new for line in text.split("\n") for new in _import_lines(line, importer)]
    if any("importlib." in line for line in lines):
        start = next(i for i, line in enumerate(lines) if line.startswith("from "))
        lines.insert(start, "import importlib")
    # Checkers read the stub; in here they would miss what protoc does with public imports.
    lines.insert(
        next(i for i, line in enumerate(lines) if line.startswith('"""')), "# type: ignore"
    )
    return "\n".join(lines)


def stub_text(text: str, module: str, imports: Imports, is_local: Callable[[str], bool]) -> str:
    """``_pb2.pyi``, with the same imports and fit for strict checking."""
    importer = Importer(module, imports, is_local, Reader.CHECKER)
    lines = [new for line in text.split("\n") for new in _import_lines(line, importer)]
    lines, unseen = _without_unspeakable_imports(lines)
    lines = _without_keywords(lines)
    text = _without_unspeakable_types("\n".join(lines), unseen)
    text = _with_builtins(_annotated(text), lines)
    head = "# pyright: reportUnusedImport=false, reportSelfClsParameterName=false\n"
    if "_Any" in text:
        head += "from typing import Any as _Any\n"
    return head + text


def _import_lines(line: str, importer: Importer) -> list[str]:
    if match := _IMPORT.fullmatch(line):
        folder, last = match["folder"], match["last"]
        module = f"{folder}.{last}" if folder else last
        if importer.is_local(module):
            return importer.statements({module: match["name"]})
    if match := _DYNAMIC_IMPORT.fullmatch(line):
        if importer.is_local(match["module"]):
            return importer.statements({match["module"]: match["name"]})
    elif (match := _PUBLIC_IMPORT.fullmatch(line)) and importer.is_local(match["module"]):
        return importer.from_import(match["module"], match["names"])
    return [line]


def _without_unspeakable_imports(lines: list[str]) -> tuple[list[str], set[str]]:
    """The other lines, and the names that were bound by those left out."""
    kept, unseen = [], set()
    for line in lines:
        if match := re.match(r"(\w+) = importlib\.", line):
            unseen.add(match[1])
        elif (match := _IMPORT.fullmatch(line)) and not _is_grammatical(match["folder"]):
            unseen.add(match["name"])
        elif (match := _PUBLIC_IMPORT.fullmatch(line)) and not _is_grammatical(match["module"]):
            pass
        elif line != "import importlib":
            kept.append(line)
    return kept, unseen


def _is_grammatical(source: str | None) -> bool:
    path = (source or "").lstrip(".")
    return not path or is_speakable(path)


def _without_keywords(lines: list[str]) -> list[str]:
    """Without classes, values and re-exports named by keywords: no program can write them.

    ``getattr`` reaches them when the program runs; checkers then know nothing of their type.
    """
    kept = []
    hidden: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if hidden is not None and (not line or indent > hidden):
            continue
        hidden = None
        match = _CLASS.match(line) or _DECLARATION.match(line) or _REEXPORT.match(line)
        if match is None or not keyword.iskeyword(match["name"]):
            kept.append(line)
        elif match.re is _CLASS:
            hidden = indent
    return kept


def _without_unspeakable_types(text: str, unseen: set[str]) -> str:
    text = _BY_GLOBALS.sub("_Any", text)
    if unseen:
        text = re.sub(rf"\b(?:{'|'.join(sorted(unseen))})\.[\w.]+", "_Any", text)
    count = 1
    while count:  # from the inside out: getattr(getattr(Outer, 'class'), 'def')
        text, count = _BY_GETATTR.subn("_Any", text)
    return text


def _annotated(text: str) -> str:
    """With the annotations that are missing, and without those that are wrong."""
    text = text.replace("_Mapping]", "_Mapping[str, _Any]]").replace("**kwargs)", "**kwargs: _Any)")
    text = re.sub(r"^(\w+): _ClassVar\[(\w+)\]$", r"\1: \2", text, flags=re.MULTILINE)
    # `Extensions` takes a kind of field descriptor that is only known to the stubs of protobuf,
    # which have the attribute itself too.
    text = re.sub(r"^( *\w+): _descriptor\.FieldDescriptor$", r"\1: _Any", text, flags=re.MULTILINE)
    return re.sub(r"^ +Extensions: _python_message\._ExtensionDict\n", "", text, flags=re.MULTILINE)


def _with_builtins(text: str, lines: list[str]) -> str:
    """Scalar types spelt so that a field or message of that name doesn't hide them."""
    declared = {
        match["name"] for line in lines if (match := _CLASS.match(line) or _DECLARATION.match(line))
    }
    hidden = [name for name in _BUILTINS if name in declared]
    if not hidden:
        return text
    types = re.compile(rf"(?<![\w.'\"])(?<!class )({'|'.join(hidden)})(?![\w'\"]|: )")
    return "import builtins as _builtins\n" + types.sub(r"_builtins.\1", text)
