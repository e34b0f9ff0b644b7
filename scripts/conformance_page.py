"""Writes docs/reference/conformance.md from the reports of `make conformance` and `make h2spec`.

    python scripts/conformance_page.py

Leaves it as it is unless all of both has been run: build/reports/*.json.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
PAGE = ROOT / "docs" / "reference" / "conformance.md"

HEAD = """\
# Conformance

What other people's suites find. `make conformance` and `make h2spec` run them, and write this page
when both were run in full.
"""

# suite -> title, what it is, how many reports make it whole
SUITES = {
    "connectconformance": (
        "The Connect project's conformance suite",
        """\
[connectconformance](https://github.com/connectrpc/conformance) calls a server of ours with
reference clients (connect-go and grpc-go), and has a client of ours call reference servers: gRPC
over HTTP/2, protobuf and JSON, identity and gzip, cleartext, TLS, and TLS with client certificates,
the limit of received messages. What is claimed stands in `tests/conformance/config.yaml`. There is
no list of cases that are known to fail or to be flaky.""",
        8,
    ),
    "h2spec": (
        "h2spec",
        """\
[h2spec](https://github.com/summerwind/h2spec) in strict mode, at the commit that is named: 147
cases of RFC 7540 and RFC 7541, against an ordinary server.""",
        2,
    ),
}
TAIL = """\
## Running them

```
make conformance
make h2spec
```

They need Go, and the first time a network: the programs are installed from their modules, at the
versions above, into `.tools/`. Where Go is missing, or a module cannot be had, they say `NOT RUN`
and succeed; with `GYRFALCON_REQUIRE_GO=1` in the environment that is a failure. A program of that
version that is there already is taken from the folder that `GYRFALCON_TOOLS` names.

`python -m tests.conformance --mode server --face blocking --run 'Basic/**'` and
`python -m tests.h2spec --cleartext http2/5.1` run less. `build/reports/` has a JSON file for each
row, connectconformance's own words with a trace of each failure (`*.log`), and h2spec's JUnit
reports (`*.xml`).
"""


def rows(reports: list[dict[str, Any]]) -> Iterator[str]:
    yield "| version | ours | face | | passed | failed | skipped | seconds |"
    yield "|---|---|---|---|---:|---:|---:|---:|"
    for one in reports:
        security = "TLS" if one["tls"] else "cleartext"
        yield (
            f"| {one['version']} | {one['role']} | {one['face']} | {security} | {one['passed']} "
            f"| {one['failed']} | {one['skipped']} | {one['seconds']} |"
        )


def page(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    yield HEAD
    yield (
        f"Last run with Gyrfalcon {version('gyrfalcon')}, CPython {platform.python_version()}, "
        f"protobuf {version('protobuf')}, {platform.system()} {platform.machine()}.\n"
    )
    for suite, (title, text, _) in SUITES.items():
        yield f"## {title}\n\n{text}\n"
        yield from rows(found[suite])
        yield ""
    yield TAIL


def main() -> None:
    found: dict[str, list[dict[str, Any]]] = {suite: [] for suite in SUITES}
    for path in sorted(REPORTS.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if report.get("suite") in found:
            found[report["suite"]].append(report)
    if any(len(found[suite]) != whole for suite, (_, _, whole) in SUITES.items()):
        print(f"{PAGE.relative_to(ROOT)} is left as it is: not everything was run")
        return
    if any(one["failed"] or one["skipped"] for reports in found.values() for one in reports):
        sys.exit(f"{PAGE.relative_to(ROOT)} is left as it is: there are failures")
    PAGE.write_text("\n".join(page(found)).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
