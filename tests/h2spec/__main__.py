"""Runs h2spec, strict, against a server of ours: cleartext and TLS.

    python -m tests.h2spec [--tls | --cleartext] [SPEC]...

SPEC is h2spec's name of a section or a case: "http2/5.1". Writes build/reports/*.json, and beside
them what h2spec itself reports (*.xml).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

import gyrfalcon as gyr
from gyrfalcon.services.health import HealthStub, health_pb2
from tests.certificates import Certificates
from tests.go_tools import GoTool
from tests.h2spec.server import make_server
from tests.reports import FOLDER, Report, conclude

# Two fixes after the last release, 2.6.0, by their commit.
COMMIT = "af83a65f0b6273ef38bf778d400d98892e7653d8"
H2SPEC = GoTool("github.com/summerwind/h2spec/cmd/h2spec", COMMIT)
CASES = 147
"""All that h2spec has in strict mode."""


def read_junit(path: Path, tls: bool, seconds: float) -> Report:
    """What h2spec reports, each case once."""
    failed = skipped = total = 0
    for case in ElementTree.parse(path).iter("testcase"):
        total += 1
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                failed += 1
                print(f"FAILED: {case.get('package')}: {case.get('classname')}\n{found.text}")
        if case.find("skipped") is not None:
            skipped += 1
            print(f"SKIPPED: {case.get('package')}: {case.get('classname')}")
    return Report(
        suite="h2spec",
        version=COMMIT[:12],
        role="server",
        face="asyncio",
        tls=tls,
        passed=total - failed - skipped,
        failed=failed,
        skipped=skipped,
        seconds=round(seconds, 1),
    )


async def run(program: Path, tls: bool, specs: list[str]) -> Report:
    FOLDER.mkdir(parents=True, exist_ok=True)
    junit = FOLDER / f"h2spec-{'tls' if tls else 'cleartext'}.xml"
    junit.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder)) if tls else None
        async with make_server(certificates.server_tls() if certificates else None) as server:
            port = await server.listen("127.0.0.1:0")
            began = time.monotonic()
            output = await attack(program, port, junit, tls, specs)
            seconds = time.monotonic() - began
            if not junit.exists():
                sys.exit(f"{output}\nh2spec has written no report")
            await answers_still(port, certificates.client_tls() if certificates else None)
    return read_junit(junit, tls, seconds)


async def attack(program: Path, port: int, junit: Path, tls: bool, specs: list[str]) -> str:
    """Run h2spec; what it printed."""
    options = ["--strict", "--port", str(port), "--junit-report", str(junit)]
    if tls:
        options += ["--tls", "--insecure"]  # it cannot be given an authority
    process = await asyncio.create_subprocess_exec(
        program,
        *options,
        *specs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace")


async def answers_still(port: int, tls: gyr.ClientTLS | None) -> None:
    """Raises RpcError when the server has not survived."""
    async with gyr.Channel(f"127.0.0.1:{port}", tls=tls) as channel:
        await HealthStub(channel).check(health_pb2.HealthCheckRequest())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.h2spec")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--tls", action="store_true", help="with TLS alone")
    only.add_argument("--cleartext", action="store_true", help="without TLS alone")
    parser.add_argument("spec", nargs="*", help="a section or case (all)")
    options = parser.parse_args()
    program = H2SPEC.find()
    kinds = [tls for tls in (False, True) if not (options.cleartext if tls else options.tls)]
    reports = [asyncio.run(run(program, tls, options.spec)) for tls in kinds]
    status = conclude(reports, whole=not options.spec)
    for report in reports:
        if not options.spec and report.passed != CASES:
            print(f"h2spec has {CASES} cases, and {report.passed} passed")
            status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
