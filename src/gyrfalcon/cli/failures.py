"""How a command fails: what it prints on stderr and the exit status.

0 is success, 1 a failure without a status code, 2 wrong usage, 64 + N a call that ended with status
code N, 130 an interrupt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import click

import gyrfalcon as gyr

FAILED = 1
WRONG_USE = 2
RPC_ERROR = 64
INTERRUPTED = 130

_SHOWN = 20
# Of difflib's ratio: one wrong letter in four is too many.
_ALIKE = 0.75


class Failure(click.ClickException):
    """Ends the command with a message, hints what to do, and an exit status."""

    status = FAILED

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.hints = hints
        self.exit_code = self.status  # type: ignore[misc]

    def format_message(self) -> str:
        lines = [printable(self.message), *(f"Hint: {printable(hint)}" for hint in self.hints)]
        return "\n".join(lines)


class WrongUse(Failure):
    """What was asked for cannot be: no such service, not the JSON of the message, ..."""

    status = WRONG_USE


class CallFailed(Failure):
    """A call that ended with another code than OK; `details` are its details as JSON."""

    def __init__(self, error: gyr.RpcError, target: str, details: Sequence[str] = ()) -> None:
        message = f"{error.code.name}: {error.message}" if error.message else error.code.name
        self.status = RPC_ERROR + error.code
        super().__init__(message, *_hints(error, target))
        self.details = details

    def format_message(self) -> str:
        message, *hints = super().format_message().split("\nHint: ")
        details = [f"Detail: {printable(detail)}" for detail in self.details]
        return "\n".join([message, *details, *(f"Hint: {hint}" for hint in hints)])


def printable(text: str) -> str:
    """Text of others for a terminal: control characters are written out, further lines indented."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\n":
        return "\n  "
    return character if character.isprintable() else repr(character)[1:-1]


def near(name: str, candidates: Iterable[str]) -> list[str]:
    """The candidates that somebody may have meant by a name: at most three, the nearest first."""
    names = list(candidates)
    last = name.rpartition(".")[2].lower()
    same = [one for one in names if one.rpartition(".")[2].lower() == last]
    by_lower = {one.lower(): one for one in names}
    alike = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=_ALIKE)
    # "Greter" is nearer to "Greeter" than to the whole of "helloworld.Greeter".
    by_last = {one.rpartition(".")[2].lower(): one for one in names}
    alike_last = difflib.get_close_matches(last, by_last, n=3, cutoff=_ALIKE)
    found = [*same, *(by_lower[one] for one in alike), *(by_last[one] for one in alike_last)]
    return list(dict.fromkeys(found))[:3]


def choices(name: str, candidates: Iterable[str], what: str) -> list[str]:
    """Hints for a name that is none of the candidates: near ones, else what there is."""
    names = sorted(candidates)
    if meant := near(name, names):
        return [f"did you mean {' or '.join(meant)}?"]
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what} {', '.join(names[:_SHOWN])}{more}"]


def _hints(error: gyr.RpcError, target: str) -> list[str]:
    message = error.message
    match error.code:
        case gyr.StatusCode.UNAVAILABLE if message.startswith("connect to "):
            return [f"is a server running, and is {target} its address?"]
        case gyr.StatusCode.UNAVAILABLE if message.startswith("HTTP/2 handshake with "):
            return ["what listens there speaks no HTTP/2 without TLS, which is how gyr calls"]
        case gyr.StatusCode.UNAVAILABLE if message.startswith("resolve "):
            return ["check the host name, or give an IP address"]
        case gyr.StatusCode.DEADLINE_EXCEEDED:
            return ["give it more time with --timeout SECONDS"]
        case gyr.StatusCode.UNAUTHENTICATED:
            return ["send credentials, as in -H 'authorization: Bearer TOKEN'"]
        case gyr.StatusCode.RESOURCE_EXHAUSTED if "max_receive_bytes" in message:
            return ["allow larger messages with --max-receive-bytes BYTES"]
    return []
