"""Texts of strangers, made fit for a line that a person reads: a log, an exception's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

TEXT_LIMIT: Final = 500
"""Characters of a text that are shown."""
DETAIL_LIMIT: Final = 200
"""Characters of one error detail that are shown."""
DETAILS_SHOWN: Final = 4
"""Error details that are shown."""


def quote(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` on one line: what cannot be printed is escaped, and what is over `limit` characters
    is cut, with a note of how long it was.

    Escaped is whatever `str.isprintable` leaves out: it could end the line, colour a terminal, or
    turn the direction of what stands beside it.
    """
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in shown)
    return shown if len(text) <= limit else f"{shown}... ({len(text)} characters)"


def quoted(text: str, limit: int = TEXT_LIMIT) -> str:
    """`repr(text)`, cut likewise."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}... ({len(text)} characters)"


def cut(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` that is on one line as it is, cut likewise."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def quote_message(message: Message, limit: int = DETAIL_LIMIT) -> str:
    """A protobuf message on one line, with the name of its type; never fails."""
    from google.protobuf import text_format

    name = message.DESCRIPTOR.full_name
    try:
        text = text_format.MessageToString(message, as_one_line=True, as_utf8=True)
    except Exception:
        # An extension or an Any that cannot be printed: the error that it belongs to matters more.
        text = "..."
    return f"{name} {{{quote(text, limit)}}}"


def quote_details(details: Iterable[Message]) -> str:
    """Error details on one line: the first few of them."""
    every = tuple(details)
    shown = [quote_message(detail) for detail in every[:DETAILS_SHOWN]]
    if len(every) > DETAILS_SHOWN:
        shown.append(f"and {len(every) - DETAILS_SHOWN} more")
    return ", ".join(shown)
