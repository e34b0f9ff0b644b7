"""Calls over TLS: both faces, all patterns, on sockets and in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon import stats
from tests.blocking.service import BlockingStub
from tests.call.faces import FACES, HANDLERS, PATTERNS, REPLIES, ask_asyncio, ask_blocking, asking
from tests.call.service import SAFETY_NET_S, UNARY, Calls, Stub, message, serving
from tests.certificates import CLIENT_NAME, Certificates

pytestmark = pytest.mark.anyio

BIG = bytes(range(256)) * 12_000  # 3 MB: many records, more than one read and one write


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_every_pattern_in_memory(face: str, pattern: str, certificates: Certificates) -> None:
    server, client = {"tls": certificates.server_tls()}, {"tls": certificates.client_tls()}
    async with asking(face, server, client, **HANDLERS) as ask:
        assert await ask(pattern, b"a") == REPLIES[pattern]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("address", ["127.0.0.1:0", "unix"])
async def test_every_pattern_on_sockets(
    face: str, pattern: str, address: str, certificates: Certificates, tmp_path: Any
) -> None:
    if address == "unix":
        address = f"unix:{tmp_path}/s"
    async with (
        asyncio.timeout(SAFETY_NET_S),
        gyr.Server([Calls(**HANDLERS)], tls=certificates.server_tls()) as server,
    ):
        port = await server.listen(address)
        target = f"localhost:{port}" if port else address
        if face == "asyncio":
            async with gyr.Channel(target, tls=certificates.client_tls()) as channel:
                replies = await ask_asyncio(Stub(channel), pattern, b"a")
        else:

            def call() -> list[bytes]:
                with gyr.blocking.Channel(target, tls=certificates.client_tls()) as channel:
                    return ask_blocking(BlockingStub(channel), pattern, b"a")

            replies = await asyncio.to_thread(call)
    assert replies == REPLIES[pattern]


@pytest.mark.parametrize("face", FACES)
async def test_large_messages_go_through_both_ways(face: str, certificates: Certificates) -> None:
    async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return request

    server, client = {"tls": certificates.server_tls()}, {"tls": certificates.client_tls()}
    async with asking(face, server, client, unary=echo) as ask:
        assert await ask("unary", BIG) == [BIG]


async def test_a_blocking_server_and_channel(certificates: Certificates) -> None:
    def talk() -> bytes:
        def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return message(request.value + ctx.peer.auth_type.encode())

        with gyr.blocking.Server([Calls(unary=unary)], tls=certificates.server_tls()) as server:
            port = server.listen("127.0.0.1:0")
            tls = certificates.client_tls()
            with gyr.blocking.Channel(f"localhost:{port}", tls=tls) as channel:
                return BlockingStub(channel).unary(message(b"by ")).value

    assert await asyncio.to_thread(talk) == b"by tls"


async def test_a_queue_server(certificates: Certificates) -> None:
    def talk() -> bytes:
        queue = gyr.blocking.CompletionQueue()
        served, tls = [Calls.__gyr_service__], certificates.server_tls()
        with gyr.blocking.QueueServer(served, tls=tls) as server:
            port = server.listen("127.0.0.1:0")
            server.request_call(UNARY, queue=queue, tag="call")
            trust = certificates.client_tls()
            with gyr.blocking.Channel(f"localhost:{port}", tls=trust) as channel:
                future = BlockingStub(channel).unary.future(message(b"a"))
                event = queue.next(timeout=SAFETY_NET_S)
                assert event is not None
                call = event.result()
                call.finish(message(call.peer.auth_type.encode()), tag="end")
                assert queue.next(timeout=SAFETY_NET_S) is not None
                reply: bytes = future.result(timeout=SAFETY_NET_S).value
        queue.shutdown()
        return reply

    assert await asyncio.to_thread(talk) == b"tls"


# ---------------------------------------------------------------------- who the peer is


@pytest.mark.parametrize("face", FACES)
async def test_the_peer_of_a_client_that_proves_itself(
    face: str, certificates: Certificates
) -> None:
    peers: list[gyr.Peer] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        peers.append(ctx.peer)
        return request

    server = {"tls": certificates.server_tls(client_ca=True, require_client=True)}
    async with asking(face, server, {"tls": certificates.mutual_tls()}, unary=unary) as ask:
        await ask("unary", b"a")
    (peer,) = peers
    assert peer.identities == (CLIENT_NAME,)
    assert peer.auth_type == "tls"
    assert peer.certificate is not None
    assert peer.certificate["subjectAltName"] == (("DNS", CLIENT_NAME),)


async def test_a_peer_without_a_certificate_is_its_address(certificates: Certificates) -> None:
    peers: list[gyr.Peer] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        peers.append(ctx.peer)
        return request

    server = {"tls": certificates.server_tls(client_ca=True)}
    async with serving(server, {"tls": certificates.client_tls()}, unary=unary) as stub:
        call = stub.unary(message(b"a"))
        await call
        assert call.peer is not None
        assert (call.peer, call.peer.identities) == (
            "ipv4:192.0.2.1:50051",
            ("localhost", "127.0.0.1", "::1", "192.0.2.1"),
        )
    (peer,) = peers
    assert (peer.identities, peer.certificate, peer.auth_type) == ((), None, "tls")
    assert str(peer).startswith("ipv4:192.0.2.254:")
    assert peer == str(peer)


async def test_plaintext_is_told_apart() -> None:
    peers: list[gyr.Peer] = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        peers.append(ctx.peer)
        return request

    async with serving(unary=unary) as stub:
        await stub.unary(message(b"a"))
    assert [peer.auth_type for peer in peers] == ["insecure"]


# ---------------------------------------------------------------------- figures


async def connection_figures(stub: Stub) -> list[stats.ConnectionStats]:
    """Of both ends."""
    server = stub.served.server.stats()
    channel = stub.channel.stats()
    ids = [*server.connections]
    for number in channel.subchannels:
        subchannel = stats.find_subchannel(number)
        assert subchannel is not None
        ids += subchannel.connections
    found = [stats.find_connection(number) for number in ids]
    return [figures for figures in found if figures is not None]


async def test_connections_say_what_was_agreed_on(certificates: Certificates) -> None:
    options = {"tls": certificates.server_tls(client_ca=True, require_client=True)}
    async with serving(options, {"tls": certificates.mutual_tls()}, **HANDLERS) as stub:
        await stub.unary(message(b"a"))
        server, client = await connection_figures(stub)
    assert server.tls is not None
    assert client.tls is not None
    assert (server.tls.version, server.tls.cipher) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    assert client.tls.version == "TLSv1.3"
    assert server.tls.local_certificate == client.tls.remote_certificate != b""
    assert client.tls.local_certificate == server.tls.remote_certificate != b""


async def test_plaintext_connections_have_no_tls_figures() -> None:
    async with serving(**HANDLERS) as stub:
        await stub.unary(message(b"a"))
        assert [figures.tls for figures in await connection_figures(stub)] == [None, None]
