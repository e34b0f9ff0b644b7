"""Python names for proto names."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

# The words of a camel-case name, tried in this order: acronyms in the plural (URLs) and with a
# version (IPv4) would fall apart under the other rules; an acronym ends before the capital that
# starts the next word (HTTP|Server); digits stay with the word before them (V2, x509, OAuth2).
_WORDS = re.compile(
    r"[A-Z]{2,}s(?![a-z0-9])"
    r"|[A-Z]{2,}v[0-9][a-z0-9]*"
    r"|[A-Z]+(?![a-z])(?:[0-9][a-z0-9]*)?"
    r"|[A-Z]?[a-z][a-z0-9]*"
    r"|[0-9][a-z0-9]*"
)


def snake_case(name: str) -> str:
    """``getOrder``, ``GetOrder`` -> ``get_order``; ``GetHTTPResponse`` -> ``get_http_response``.

    Underscores at both ends go: Python gives leading ones a meaning that proto names don't have.
    """
    return "_".join(word.lower() for word in _WORDS.findall(name))


def attribute_name(method: str) -> str:
    """The name of a service's and stub's attribute for a proto method: a legal Python name."""
    name = snake_case(method)
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) else name


def module_alias(module: str) -> str:
    """A legal name to bind a dotted module to.

    It has no leading underscores: two of them would be a private name, which class bodies mangle.
    """
    alias = re.sub(r"\W", "_", module).lstrip("_")
    return f"m{alias}" if alias[0].isdigit() else alias


def is_speakable(dotted: str) -> bool:
    """Whether Python's grammar lets a program write this dotted name (``lambda.x_pb2``: no)."""
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in dotted.split("."))


class Scope:
    """Names of one generated module, each given out once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def take(self, name: str) -> str:
        """``name``, with underscores appended until it is free."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
