"""`gyr serve` under measurement: with workers, on a free port, pinned."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import h2load, payloads
from benchmarks.measures import SERVICE
from benchmarks.processes import ProgramFailed, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLICATION = "benchmarks.serving:make_services"


def make_services() -> list[object]:
    """What is served: the bench service and the health service."""
    import gyrfalcon as gyr
    from benchmarks.peers.gyrfalcon_loop import Bench

    return [Bench(), gyr.services.Health()]


@dataclass(frozen=True, slots=True)
class Serving:
    """A server with workers."""

    port: int
    workers: tuple[int, ...]
    """their process numbers"""

    def load(self, connections: int = 10, streams: int = 50) -> h2load.Load:
        return h2load.Load(
            url=f"http://127.0.0.1:{self.port}{SERVICE}/Buy",
            body=payloads.framed(payloads.ORDER),
            reply_bytes=len(payloads.framed(payloads.RECEIPT)),
            connections=connections,
            streams=streams,
        )

    def processor_seconds(self) -> list[float]:
        """What each worker has used so far, kernel included (Linux)."""
        found = []
        for pid in self.workers:
            fields = Path(f"/proc/{pid}/schedstat").read_text().split()
            found.append(int(fields[0]) / 1e9)
        return found


@contextlib.contextmanager
def serving(workers: int, cores: set[int]) -> Iterator[Serving]:
    """Raises ProgramFailed when it does not come up."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gyrfalcon.cli", "serve", APPLICATION]
    command += ["--workers", str(workers), "--bind", f"127.0.0.1:{port}"]
    with (
        pinned(cores),
        subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process,
    ):
        assert process.stderr is not None
        try:
            written = ""
            pids: list[int] = []
            while len(pids) < workers:
                line = process.stderr.readline()
                if not line:
                    raise ProgramFailed(f"gyr serve ended: {written}")
                written += line
                pids += [int(pid) for pid in re.findall(r"pid (\d+)\) serves", line)]
            yield Serving(port, tuple(pids))
        finally:
            process.send_signal(signal.SIGTERM)
