"""The programs of the matrix: how each is started as a server, and run as a client."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .certificates import SERVER_NAME, Certificates
from .install import GO_BIN, JAVA_JARS
from .processes import Ended, run, started

# One case, and all cases of a process that runs several.
CASE_S = 60.0
CASES_S = 240.0

# Peers show load reports to balancers alone; their programs have this one, for the ORCA cases.
REPORTS_TO_BALANCER = (
    '--service_config_json={"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}'
)

LISTENING = re.compile(rb"listening on (\d+)|[Ss]erver started on port|server listening on")


@dataclass(frozen=True)
class Report:
    """How one case went at the client."""

    seconds: float
    error: str | None


@dataclass(frozen=True)
class Peer:
    """A program of the matrix, by library and face."""

    name: str
    library: str
    lacks_as_client: dict[str, str] = field(default_factory=dict)
    """Cases that it cannot run, and why."""
    lacks_as_server: dict[str, str] = field(default_factory=dict)
    """Cases that clients cannot run against it, and why."""
    outgrown: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Cases in which its program asks for more than its own library does any more: how it says so,
    and what that is."""
    built_in_certificates: bool = False

    def server_command(self, port: int, tls: Certificates | None) -> Sequence[str | Path]:
        raise NotImplementedError

    async def run_cases(
        self, cases: Sequence[str], port: int, tls: Certificates | None
    ) -> dict[str, Report]:
        raise NotImplementedError

    async def run_http2_case(self, case: str, port: int) -> Report:
        """One of those against `http2_server`."""
        return (await self.run_cases([case], port, None))[case]

    @asynccontextmanager
    async def serving(self, tls: Certificates | None) -> AsyncIterator[int]:
        """Its server; the port."""
        # Not every peer tells the port that it was given, so it is looked for beforehand.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        async with started(self.server_command(port, tls), LISTENING):
            yield port


def client_flags(port: int, tls: Certificates | None) -> list[str]:
    """As all libraries take them."""
    found = ["--server_host=127.0.0.1", f"--server_port={port}"]
    if tls is None:
        return [*found, "--use_tls=false"]
    return [
        *found,
        "--use_tls=true",
        "--use_test_ca=true",
        f"--server_host_override={SERVER_NAME}",
    ]


def server_flags(port: int, tls: Certificates | None) -> list[str]:
    return [f"--port={port}", f"--use_tls={'false' if tls is None else 'true'}"]


def files(tls: Certificates | None) -> list[str]:
    if tls is None:
        return []
    return [f"--tls_cert_file={tls.certificate}", f"--tls_key_file={tls.key}"]


# ---------------------------------------------------------------------- Python


@dataclass(frozen=True)
class Python(Peer):
    """Programs of this folder."""

    client_module: str = ""
    server_module: str = ""
    face: str = ""

    def _command(self, module: str) -> list[str]:
        return [sys.executable, "-m", f"tests.interop.{module}", f"--face={self.face}"]

    def server_command(self, port: int, tls: Certificates | None) -> Sequence[str | Path]:
        return [*self._command(self.server_module), *server_flags(port, tls), *files(tls)]

    async def run_cases(
        self, cases: Sequence[str], port: int, tls: Certificates | None
    ) -> dict[str, Report]:
        command = [*self._command(self.client_module), *client_flags(port, tls), "--json"]
        if tls is not None:
            command.append(f"--ca_file={tls.ca}")
        ended = await run([*command, f"--test_case={','.join(cases)}"], CASES_S)
        found = {}
        for line in ended.output.splitlines():
            if line.startswith("{"):
                said = json.loads(line)
                found[said["case"]] = Report(said["seconds"], said["error"])
        return complete(found, cases, ended)


def complete(found: dict[str, Report], cases: Sequence[str], ended: Ended) -> dict[str, Report]:
    """With those that the client did not come to."""
    return {case: found.get(case, Report(ended.seconds, ended.why())) for case in cases}


# ---------------------------------------------------------------------- Go


@dataclass(frozen=True)
class Go(Peer):
    """grpc-go's programs: a process for each case."""

    def server_command(self, port: int, tls: Certificates | None) -> Sequence[str | Path]:
        return [GO_BIN / "server", *server_flags(port, tls), *files(tls)]

    async def run_cases(
        self, cases: Sequence[str], port: int, tls: Certificates | None
    ) -> dict[str, Report]:
        return {case: await self._run_case(case, port, tls) for case in cases}

    async def _run_case(self, case: str, port: int, tls: Certificates | None) -> Report:
        command: list[str | Path] = [GO_BIN / "client", *client_flags(port, tls)]
        if tls is not None:
            command.append(f"--ca_file={tls.ca}")
        if case.startswith("orca_"):
            command.append(REPORTS_TO_BALANCER)
        ended = await run([*command, f"--test_case={case}"], CASE_S)
        return Report(ended.seconds, None if ended.status == 0 else ended.why())

    async def run_http2_case(self, case: str, port: int) -> Report:
        command: list[str | Path] = [
            GO_BIN / "http2",
            "--server_host=127.0.0.1",
            f"--server_port={port}",
        ]
        ended = await run([*command, f"--test_case={case}"], CASE_S)
        return Report(ended.seconds, None if ended.status == 0 else ended.why())


# ---------------------------------------------------------------------- Java

# The cases take milliseconds, so that code is better interpreted soon than compiled well.
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
SAID = re.compile(r"^case (\S+) (\d+) (ok|failed (.*))$", re.MULTILINE)


@dataclass(frozen=True)
class Java(Peer):
    """grpc-java's programs: one process for all cases."""

    def _command(self, main: str) -> list[str]:
        return [*JAVA, "-cp", f"{JAVA_JARS}:{JAVA_JARS}/*", main]

    def server_command(self, port: int, tls: Certificates | None) -> Sequence[str | Path]:
        main = "io.grpc.testing.integration.TestServiceServer"
        return [*self._command(main), *server_flags(port, tls)]

    async def run_cases(
        self, cases: Sequence[str], port: int, tls: Certificates | None
    ) -> dict[str, Report]:
        found: dict[str, Report] = {}
        reported = [case for case in cases if case.startswith("orca_")]
        plain = [case for case in cases if case not in reported]
        options = client_flags(port, tls)
        if plain:
            found |= await self._run("client", plain, options)
        if reported:
            found |= await self._run("client", reported, [*options, REPORTS_TO_BALANCER])
        return found

    async def run_http2_case(self, case: str, port: int) -> Report:
        where = ["--server_host=127.0.0.1", f"--server_port={port}"]
        return (await self._run("http2", [case], where))[case]

    async def _run(
        self, client: str, cases: Sequence[str], options: Sequence[str]
    ) -> dict[str, Report]:
        ended = await run([*self._command("Cases"), client, ",".join(cases), *options], CASES_S)
        found = {
            case: Report(int(milliseconds) / 1000, None if end == "ok" else f"{why}{ended.tail()}")
            for case, milliseconds, end, why in SAID.findall(ended.output)
        }
        return complete(found, cases, ended)
