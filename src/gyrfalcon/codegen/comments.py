"""Comments of a proto file, and docstrings made from them."""

from __future__ import annotations

import inspect
import re
import unicodedata

from google.protobuf.descriptor_pb2 import FileDescriptorProto

_SERVICE_FIELD = FileDescriptorProto.SERVICE_FIELD_NUMBER


def service_comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Comments on services and what is in them, by descriptor path (``SourceCodeInfo.Location``).

    The comment before a declaration wins over the one behind it on the same line.
    """
    found = {}
    for location in file.source_code_info.location:
        if location.path and location.path[0] == _SERVICE_FIELD:
            text = _clean(location.leading_comments) or _clean(location.trailing_comments)
            if text:
                found[tuple(location.path)] = text
    return found


def _clean(comment: str) -> str:
    text = comment.replace("\r\n", "\n")
    if text.startswith(("* ", "*\n")):  # protoc takes "/*" away and leaves the rest of "/**"
        text = text[1:]
    return "\n".join(line.rstrip() for line in inspect.cleandoc(text).split("\n")).strip()


def docstring(text: str, indent: str) -> list[str]:
    """The lines of a docstring that evaluates to ``text`` (indented when it has several lines)."""
    # Quotes that would end the docstring, or look as if they did.
    quotes = re.compile(r'"{3,}|\A"|"\Z')
    escaped = quotes.sub(lambda match: r"\"" * len(match[0]), escape(text))
    first, *rest = escaped.split("\n")
    if not rest:
        return [f'{indent}"""{first}"""']
    lines = [f'{indent}"""{first}', *(f"{indent}{line}" if line else "" for line in rest)]
    return [*lines, f'{indent}"""']


def escape(text: str) -> str:
    """Source text for ``text``: backslashes and what an editor doesn't show are written out.

    Directional marks are among the latter: they can make code look like something it is not.
    """
    return "".join(c if _is_plain(c) else _escaped(c) for c in text)


def _is_plain(char: str) -> bool:
    return char == "\n" or (
        char != "\\" and (char.isprintable() or unicodedata.category(char) == "Zs")
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
