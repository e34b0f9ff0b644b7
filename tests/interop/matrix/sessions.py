"""Runs the cases: each server once for each transport, all of its clients one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.http2_server import Http2Server

from . import certificates
from .certificates import Certificates
from .peers import Peer, Report
from .processes import NotStarted
from .results import Result, Verdict
from .roster import GROUPS, HTTP2, HTTP2_SERVER, OURS, PROBED

PLAINTEXT, TLS = "plaintext", "TLS"
# More disturb each other on two processors, and soak cases have limits of time.
AT_ONCE = 2

Tell = Callable[[Result], None]


class Matrix:
    """One run. `tell` hears of each result."""

    def __init__(self, peers: Sequence[Peer], transports: Sequence[str], tell: Tell) -> None:
        self._peers = peers
        self._transports = transports
        self._tell = tell
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self, folder: Path) -> None:
        """`folder`: for the certificates of the run."""
        made = certificates.make(folder) if TLS in self._transports else None
        async with asyncio.TaskGroup() as tasks:
            for server in self._peers:
                if PLAINTEXT in self._transports:
                    tasks.create_task(self._run_server(server, self._clients_of(server), None))
                if made is None:
                    continue
                for built_in in (False, True):
                    clients = [
                        client
                        for client in self._clients_of(server)
                        if (client.built_in_certificates or server.built_in_certificates)
                        == built_in
                    ]
                    chosen = certificates.published() if built_in else made
                    if clients:
                        tasks.create_task(self._run_server(server, clients, chosen))
        if PLAINTEXT in self._transports:
            for client in self._peers:
                await self._run_http2(client)

    def _clients_of(self, server: Peer) -> list[Peer]:
        """One of the two is ours."""
        return [client for client in self._peers if OURS in (client.library, server.library)]

    async def _run_server(
        self, server: Peer, clients: Sequence[Peer], tls: Certificates | None
    ) -> None:
        transport = PLAINTEXT if tls is None else TLS
        async with self._places:
            try:
                async with server.serving(tls) as port:
                    for client in clients:
                        await self._run_pair(client, server, port, tls)
            except NotStarted as error:
                failure = told(Report(0.0, str(error)), "")
                for client in clients:
                    for one in planned(client, server):
                        self._note(client, server, transport, one, failure)

    async def _run_pair(
        self, client: Peer, server: Peer, port: int, tls: Certificates | None
    ) -> None:
        plan = planned(client, server)
        reports = await client.run_cases([one.run for one in plan if one.run], port, tls)
        transport = PLAINTEXT if tls is None else TLS
        for one in plan:
            report = reports[one.run] if one.run else None
            self._note(client, server, transport, one, told(report, one.note))

    def _note(
        self, client: Peer, server: Peer, transport: str, one: Planned, found: dict[str, Any]
    ) -> None:
        self._tell(Result(client.name, server.name, transport, one.group, one.case, **found))

    # ------------------------------------------------------------------ the server that misbehaves

    async def _run_http2(self, client: Peer) -> None:
        for name in HTTP2:
            async with Http2Server(name).serving() as server:
                report = await client.run_http2_case(name, server.port)
                faults = await server.faults()
            found = told(report, "")
            said, why = client.outgrown.get(name, ("", ""))
            if said and said in (report.error or ""):
                found = {"verdict": Verdict.ABSENT, "seconds": report.seconds, "note": why}
            if faults:
                found = {"verdict": Verdict.FAILED, "seconds": report.seconds, "note": faults[0]}
            self._tell(Result(client.name, HTTP2_SERVER, PLAINTEXT, "HTTP/2", name, **found))


def told(report: Report | None, note: str) -> dict[str, Any]:
    """The fields of a Result. No report: the case is absent."""
    if report is None:
        return {"verdict": Verdict.ABSENT, "note": note}
    if report.error is None:
        return {"verdict": Verdict.OK, "seconds": report.seconds, "note": note}
    return {"verdict": Verdict.FAILED, "seconds": report.seconds, "note": report.error}


@dataclass(frozen=True)
class Planned:
    """A case between two programs: what is run for it, if anything, and why it is not itself."""

    group: str
    case: str
    run: str | None
    note: str


def planned(client: Peer, server: Peer) -> list[Planned]:
    """All cases, those that are absent too."""
    found = []
    for group, names in GROUPS.items():
        for name in names:
            run: str | None = name
            note = client.lacks_as_client.get(name, "")
            if note:
                run = None
            elif name in server.lacks_as_server:
                note, run = server.lacks_as_server[name], PROBED.get(name)
                if run in server.lacks_as_server:
                    run = None
                elif run is not None:
                    note = f"as {run}: {note}"
            found.append(Planned(group, name, run, note))
    return found
