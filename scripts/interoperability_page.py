"""Writes docs/reference/interoperability.md from what a run of the matrix found.

    python scripts/interoperability_page.py [RESULTS]

`make interop` does so when every peer took part. RESULTS: .tools/interop/results.json.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.interop.matrix import table  # noqa: E402
from tests.interop.matrix.results import Results, Verdict  # noqa: E402
from tests.interop.matrix.roster import GROUPS, HTTP2  # noqa: E402

PAGE = ROOT / "docs/reference/interoperability.md"
RESULTS = ROOT / ".tools/interop/results.json"

SPECIFICATIONS = "https://github.com/grpc/grpc/blob/master/doc"
HEAD = f"""\
# Interoperability

gRPC's own [interoperability cases]({SPECIFICATIONS}/interop-test-descriptions.md),
all that need no cloud, between Gyrfalcon and the programs of other libraries, in both roles. This
page was written by `make interop`; how that is run is told in
[tests/interop](../../tests/interop/README.md).
"""
NEGATIVE = f"""\
## Against a server that misbehaves

The [negative HTTP/2 cases]({SPECIFICATIONS}/negative-http2-interop-test-descriptions.md),
in plaintext, against `tests/interop/http2_server.py`. The other libraries' clients are there to try
that server.
"""
ABSENT = """\
## What is absent

Cases that one of the two programs does not have, or cannot have with its library:
"""
INSTEAD = """\
Cases that leave out one step, because the server cannot take it:
"""
LEFT_OUT = """\
Left out altogether are the cases that need Google's cloud (credentials of all kinds), and
`cacheable_unary`, which needs a caching proxy between client and server, and calls with GET.
"""


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def page(results: Results) -> Iterator[str]:
    found = results.results
    yield HEAD
    total = f"{results.count(Verdict.OK):,} runs of a case passed"
    failed = results.count(Verdict.FAILED)
    yield f"{total}, {failed or 'none'} failed, in {results.seconds:.0f} s.\n"
    yield row(["program", "version"])
    yield "|---|---|"
    for name, version in results.versions.items():
        yield row([name, version])
    yield ""
    for transport in table.TRANSPORTS:
        yield f"## {'In plaintext' if transport == 'plaintext' else 'Over TLS'}\n"
        yield row(["client", "server", *GROUPS])
        yield f"|---|---|{'---:|' * len(GROUPS)}"
        for client, server, cells in table.rows(found):
            yield row(
                [
                    client,
                    server,
                    *(
                        text
                        for (_, column), text in zip(table.columns(), cells, strict=True)
                        if column == transport
                    ),
                ]
            )
        yield ""
    yield NEGATIVE
    yield row(["client", *(f"`{name}`" for name in HTTP2)])
    yield f"|---|{'---|' * len(HTTP2)}"
    for client, some in table.http2_rows(found):
        verdicts = {one.case: one.verdict.value for one in some}
        yield row([client, *(verdicts[name] for name in HTTP2)])
    yield ""
    yield "## The cases\n"
    for group, names in GROUPS.items():
        yield f"- {group}: {', '.join(f'`{name}`' for name in names)}"
    yield ""
    yield ABSENT
    yield from reasons(results, Verdict.ABSENT)
    yield ""
    yield INSTEAD
    yield from reasons(results, Verdict.OK)
    yield ""
    yield LEFT_OUT


def reasons(results: Results, verdict: Verdict) -> Iterator[str]:
    for why, cases in table.notes(results.results, verdict).items():
        yield f"- {', '.join(f'`{name}`' for name in cases)}: {why}"


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    results = Results.load(path)
    whole = {result.transport for result in results.results} == set(table.TRANSPORTS)
    if results.missing or not whole or not {"grpc-go", "grpc-java"} <= results.versions.keys():
        print(f"{PAGE.relative_to(ROOT)} is left as it is: not everything took part in this run")
        return
    PAGE.write_text("\n".join(page(results)).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
