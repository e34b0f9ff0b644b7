"""The neutral client: nghttp2's h2load, which knows HTTP/2 and nothing of gRPC."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.processes import ProgramFailed, run

if TYPE_CHECKING:
    from collections.abc import Iterator

GRPC_HEADERS = ("content-type: application/grpc", "te: trailers")


def missing() -> str:
    """Why h2load cannot be used; empty when it can."""
    return "" if shutil.which("h2load") else "h2load is not installed (nghttp2-client)"


def version() -> str:
    return subprocess.check_output(["h2load", "--version"], text=True).split("/")[-1].strip()


@dataclass(frozen=True, slots=True)
class Load:
    """The same request again and again, on `connections` × `streams` at once."""

    url: str
    body: bytes
    reply_bytes: int
    """of the whole body of one response"""
    connections: int
    streams: int
    headers: tuple[str, ...] = ()

    @contextlib.contextmanager
    def command(self, *amount: str) -> Iterator[tuple[str, ...]]:
        """The command line while the body's file exists; `amount` is a duration or a number."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.body)
            file.flush()
            yield (
                "h2load",
                f"--clients={self.connections}",
                f"--max-concurrent-streams={self.streams}",
                f"--data={file.name}",
                *(f"--header={header}" for header in (*GRPC_HEADERS, *self.headers)),
                *amount,
                self.url,
            )

    def requests(self, wanted: float) -> int:
        """About as many as wanted, the same number on every connection, each stream used."""
        each = max(self.streams, round(wanted / self.connections))
        return each * self.connections


def measure(load: Load, seconds: float, warm_up: float, core: set[int]) -> float:
    """Requests per second; raises `ProgramFailed` when a request fails.

    A first run warms up and tells how many requests fill the time. The second sends just so many:
    only then are h2load's counts of bytes those of the requests it counts.
    """
    patience = 60 + 10 * (seconds + warm_up)
    with load.command(f"--duration={warm_up * 1e3:.0f}ms") as command:
        rate = rate_in(run(command, core, patience))
    requests = load.requests(rate * seconds)
    with load.command(f"--requests={requests}") as command:
        output = run(command, core, patience)
    check(output, requests, load.reply_bytes)
    return rate_in(output)


def rate_in(output: str) -> float:
    """Requests per second in h2load's summary."""
    if not (finished := re.search(r"^finished in .*?, ([\d.]+) req/s", output, re.MULTILINE)):
        raise ProgramFailed(f"h2load printed no summary: {output[-500:]!r}")
    return float(finished[1])


def check(output: str, requests: int, reply_bytes: int) -> None:
    """Every request succeeded. h2load cannot read ``grpc-status``, but an error has no body, so the
    bytes of the bodies tell it."""
    expected = (
        f"{requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout",
        f"status codes: {requests} 2xx",
        f"({requests * reply_bytes}) data",
    )
    for part in expected:
        if part not in output:
            raise ProgramFailed(f"h2load: expected {part!r} in {output[output.find('finished') :]}")
