"""The interoperability programs: every case passes between them, and fails where it should."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S
from tests.interop import cases
from tests.interop.bindings import SERVED
from tests.interop.cases.words import CaseFailed
from tests.interop.faces import CallFailed, GyrfalconAsyncio
from tests.interop.http2_server import Http2Server
from tests.interop.matrix import certificates
from tests.interop.matrix.processes import run
from tests.interop.matrix.roster import GROUPS, PEERS
from tests.interop.protos.grpc.testing.messages_pb2 import (
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallResponse,
    StreamingOutputCallResponse,
)
from tests.interop.raw import REQUEST_HEAD, RawConnection, frame, raw_client

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the programs bring their own."""
    return "asyncio", {"use_uvloop": False}


OURS = [peer for peer in PEERS if peer.library == "Gyrfalcon"]


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("server", OURS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("client", OURS, ids=lambda peer: peer.name)
async def test_every_case_passes_between_our_own_programs(
    client: Any, server: Any, tls: bool, tmp_path: Path
) -> None:
    # ORCA's second case waits for reports, a second apart.
    names = [name for group in GROUPS.values() for name in group if name != "orca_oob"]
    made = certificates.make(tmp_path) if tls else None
    async with server.serving(made) as port:
        reports = await client.run_cases(names, port, made)
    assert {name: report.error for name, report in reports.items()} == dict.fromkeys(names)


async def test_a_client_trusts_nobody_but_the_authority_it_was_given(tmp_path: Path) -> None:
    (asyncio_peer, _) = OURS
    ours, theirs = (tmp_path / name for name in ("ours", "theirs"))
    for folder in (ours, theirs):
        folder.mkdir()
    async with asyncio_peer.serving(certificates.make(theirs)) as port:
        reports = await asyncio_peer.run_cases(["empty_unary"], port, certificates.make(ours))
    error = reports["empty_unary"].error
    assert error is not None
    assert "the certificate of the server does not hold" in error


async def test_a_case_that_is_not_known_is_named() -> None:
    command = [sys.executable, "-m", "tests.interop.client", "--test_case=large_unary,larger_unary"]
    ended = await run(command, SAFETY_NET_S)
    assert (ended.status, "--test_case='larger_unary' is not known" in ended.errors) == (1, True)


# ---------------------------------------------------------------------- servers that are wrong


class Wrong(gyr.Service):
    """Answers everything, and nothing as the cases want it."""

    __gyr_service__ = gyr.ServiceDefinition(SERVED[0].service, SERVED)

    async def empty_call(self, request: Any, ctx: gyr.ServerContext) -> Any:
        raise gyr.Unavailable("not today")

    async def unary_call(self, request: SimpleRequest, ctx: gyr.ServerContext) -> SimpleResponse:
        return SimpleResponse(payload=Payload(body=b"\1" * request.response_size))

    async def streaming_input_call(self, requests: Any, ctx: gyr.ServerContext) -> Any:
        return StreamingInputCallResponse(aggregated_payload_size=1)

    async def streaming_output_call(
        self, request: Any, ctx: gyr.ServerContext
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        yield StreamingOutputCallResponse(payload=Payload(body=bytes(31415)))

    async def full_duplex_call(
        self, requests: Any, ctx: gyr.ServerContext
    ) -> AsyncIterator[StreamingOutputCallResponse]:
        for _ in range(2):
            yield StreamingOutputCallResponse(payload=Payload(body=bytes(31415)))


PASSING = {
    # There is nothing that a server could do about these.
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "unimplemented_method",
    "unimplemented_service",
}


@pytest.mark.parametrize(
    "name", [name for group in GROUPS.values() for name in group if name not in PASSING]
)
async def test_a_case_fails_against_a_server_that_is_wrong(name: str) -> None:
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([Wrong()]) as server:
        port = await server.listen("127.0.0.1:0")
        setting = cases.Setting(GyrfalconAsyncio(f"127.0.0.1:{port}"))
        with pytest.raises((CaseFailed, CallFailed)):
            await cases.ALL[name](setting)


# ---------------------------------------------------------------------- the HTTP/2 cases


@pytest.mark.parametrize("name", cases.HTTP2)
@pytest.mark.parametrize("client", OURS, ids=lambda peer: peer.name)
async def test_our_clients_cope_with_a_server_that_misbehaves(client: Any, name: str) -> None:
    async with Http2Server(name).serving() as server:
        report = await client.run_http2_case(name, server.port)
        assert (report.error, await server.faults()) == (None, [])


HEAD = {**REQUEST_HEAD, ":path": "/grpc.testing.TestService/UnaryCall"}.items()
REQUEST = frame(SimpleRequest(response_size=10).SerializeToString())


@asynccontextmanager
async def judged(case: str, verdict: str) -> AsyncIterator[RawConnection]:
    """A client by hand, of whom the server has to say that."""
    async with asyncio.timeout(SAFETY_NET_S), Http2Server(case).serving() as server:
        async with raw_client(server.port) as peer:
            yield peer
        assert verdict in "\n".join(await server.faults())


async def test_a_call_on_the_connection_that_went_away_is_a_fault() -> None:
    async with judged("goaway", "a call on the connection that got a GOAWAY: 3") as peer:
        await peer.whole(await peer.open(HEAD, REQUEST))
        await peer.whole(await peer.open(HEAD, REQUEST))


async def test_a_ping_without_an_ack_is_a_fault() -> None:
    async with judged("ping", "PINGs have no ACK") as peer:
        # It is closed before anything is read.
        await peer.open(HEAD, REQUEST)


async def test_calls_over_the_limit_are_a_fault() -> None:
    async with judged("max_streams", "TooManyStreamsError") as peer:
        for _ in range(2):
            await peer.open(HEAD, end=False)
        await peer.closed_by_peer()


async def test_a_client_that_makes_too_few_calls_has_not_run_the_case() -> None:
    async with judged("goaway", "1 calls came; 2 at least") as peer:
        await peer.whole(await peer.open(HEAD, REQUEST))


@pytest.mark.parametrize("case", ["rst_after_header", "rst_during_data", "rst_after_data"])
async def test_streams_are_reset_as_the_case_says(case: str) -> None:
    async with asyncio.timeout(SAFETY_NET_S), Http2Server(case).serving() as server:
        async with raw_client(server.port) as peer:
            answer = await peer.whole(await peer.open(HEAD, REQUEST))
        whole = len(frame(SimpleResponse(payload=Payload(body=bytes(10))).SerializeToString()))
        length = {"rst_after_header": 0, "rst_during_data": whole // 2, "rst_after_data": whole}
        assert (answer.head[":status"], answer.reset) == ("200", ErrorCodes.NO_ERROR)
        assert len(answer.body) == length[case]
        assert await server.faults() == []
