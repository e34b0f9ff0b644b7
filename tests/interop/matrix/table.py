"""The matrix as tables: on the terminal and in the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from .results import Result, Results, Verdict
from .roster import GROUPS, HTTP2_SERVER

TRANSPORTS = ("plaintext", "TLS")


def pairs(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Client and server, in the order in which they stand in the roster."""
    return list(
        dict.fromkeys(
            (result.client, result.server) for result in results if result.server != HTTP2_SERVER
        )
    )


def cell(results: Sequence[Result]) -> str:
    """How the cases of one group went: "15", "3 + 1 absent", "14, 1 failed"."""
    if not results:
        return "–"
    passed = sum(result.verdict is Verdict.OK for result in results)
    absent = sum(result.verdict is Verdict.ABSENT for result in results)
    failed = len(results) - passed - absent
    text = str(passed)
    if absent:
        text += f" + {absent} absent"
    if failed:
        text += f", {failed} failed"
    return text


def columns() -> list[tuple[str, str]]:
    return [(group, transport) for transport in TRANSPORTS for group in GROUPS]


def rows(results: Sequence[Result]) -> Iterator[tuple[str, str, list[str]]]:
    for client, server in pairs(results):
        cells = []
        for group, transport in columns():
            cells.append(
                cell(
                    [
                        result
                        for result in results
                        if (result.client, result.server) == (client, server)
                        and (result.group, result.transport) == (group, transport)
                    ]
                )
            )
        yield client, server, cells


def http2_rows(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.server == HTTP2_SERVER:
            found.setdefault(result.client, []).append(result)
    yield from found.items()


def notes(results: Sequence[Result], verdict: Verdict) -> dict[str, list[str]]:
    """Why cases are absent, or were run otherwise: each reason, and the cases that it is for."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.verdict is verdict and result.note:
            cases = found.setdefault(result.note, [])
            if result.case not in cases:
                cases.append(result.case)
    return found


def show(results: Results, console: Console) -> None:
    table = Table(title="Interoperability", title_justify="left")
    table.add_column("client")
    table.add_column("server")
    for group, transport in columns():
        table.add_column(f"{group}\n{transport}", justify="right")
    for client, server, cells in rows(results.results):
        table.add_row(client, server, *(mark(text) for text in cells))
    console.print(table)
    http2 = Table(title="Against a server that misbehaves", title_justify="left")
    http2.add_column("client")
    http2_results = dict(http2_rows(results.results))
    for name in dict.fromkeys(one.case for some in http2_results.values() for one in some):
        http2.add_column(name)
    for client, some in http2_results.items():
        http2.add_row(client, *(mark(one.verdict.value) for one in some))
    if http2_results:
        console.print(http2)
    for why, cases in notes(results.results, Verdict.ABSENT).items():
        console.print(f"absent: {', '.join(cases)}: {why}", markup=False, soft_wrap=True)
    for why, cases in notes(results.results, Verdict.OK).items():
        console.print(f"{', '.join(cases)}: {why}", markup=False, soft_wrap=True)
    for result in results.results:
        if result.verdict is Verdict.FAILED:
            console.print(
                f"FAILED: {result.client} -> {result.server}, {result.transport}, "
                f"{result.case}: {result.note}",
                markup=False,
                soft_wrap=True,
            )
    for peer, why in results.missing.items():
        console.print(f"not run: {peer}: {why}", markup=False, soft_wrap=True)


def mark(text: str) -> str:
    if "failed" in text:
        return f"[bold red]{text}[/]"
    return f"[yellow]{text}[/]" if "absent" in text else f"[green]{text}[/]"
