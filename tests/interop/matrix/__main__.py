"""Runs all cases between all programs: ours and those of other libraries, both ways.

    python -m tests.interop.matrix [--libraries go,java,grpcio] [--results FILE]

Peers that the machine has no toolchain for are named, not failed. Exits with 1 when a case failed.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import google.protobuf
from rich.console import Console

import gyrfalcon as gyr

from . import install, sessions, table
from .install import Missing
from .results import Result, Results, Verdict
from .roster import OURS, PEERS

PREPARE: dict[str, Callable[[], str]] = {"go": install.prepare_go, "java": install.prepare_java}
NAMES = {"go": "grpc-go", "java": "grpc-java", "grpcio": "grpcio"}


def prepare(libraries: list[str], results: Results) -> None:
    """Install what is wanted, and take down what it is."""
    results.versions["Gyrfalcon"] = (
        f"{gyr.__version__}, Python {platform.python_version()}, "
        f"protobuf {google.protobuf.__version__}, {ssl.OPENSSL_VERSION}"
    )
    for library in libraries:
        if library == "grpcio":
            results.versions["grpcio"] = f"grpcio {version('grpcio')}"
            continue
        try:
            results.versions[NAMES[library]] = PREPARE[library]()
        except Missing as error:
            results.missing[NAMES[library]] = str(error)
        except subprocess.CalledProcessError as error:
            # Its own output says why; no network, most often.
            results.missing[NAMES[library]] = f"it could not be installed: {error}"
    results.versions["system"] = f"{platform.system()} {platform.machine()}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--libraries", default="go,java,grpcio", help="besides ours")
    parser.add_argument("--transports", default="plaintext,TLS")
    parser.add_argument("--results", type=Path, default=install.TOOLS / "results.json")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    console = Console(width=None if sys.stdout.isatty() else 160)
    results = Results()
    libraries = [name for name in arguments.libraries.split(",") if name]
    if unknown := set(libraries) - set(NAMES):
        sys.exit(f"--libraries={unknown.pop()!r} is not known; these are: {', '.join(NAMES)}")
    prepare(libraries, results)
    for peer, why in results.missing.items():
        console.print(f"not run: {peer}: {why}", markup=False)
    wanted = {OURS, *(name for name in libraries if NAMES[name] not in results.missing)}
    peers = [peer for peer in PEERS if peer.library in wanted]

    def tell(result: Result) -> None:
        results.results.append(result)
        if result.verdict is Verdict.FAILED:
            console.print(
                f"FAILED: {result.client} -> {result.server}, {result.transport}: {result.case}"
            )

    began = time.monotonic()
    matrix = sessions.Matrix(peers, arguments.transports.split(","), tell)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(matrix.run(Path(folder)))
    results.seconds = round(time.monotonic() - began, 1)
    order = {peer.name: number for number, peer in enumerate(PEERS)}
    results.results.sort(
        key=lambda one: (order[one.client], order.get(one.server, 99), one.transport)
    )
    results.save(arguments.results)
    table.show(results, console)
    console.print(
        f"{results.count(Verdict.OK)} passed, {results.count(Verdict.FAILED)} failed, "
        f"{results.count(Verdict.ABSENT)} absent, in {results.seconds:.0f} s: {arguments.results}",
        soft_wrap=True,
    )
    sys.exit(1 if results.count(Verdict.FAILED) else 0)


if __name__ == "__main__":
    main()
