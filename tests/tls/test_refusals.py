"""Handshakes that must not succeed: what the caller is told, and what the server notes."""

from __future__ import annotations

import asyncio
import datetime
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

import gyrfalcon as gyr
from tests.call.faces import FACES, HANDLERS, asking
from tests.call.service import SAFETY_NET_S, Calls, Stub, message, serving
from tests.certificates import Certificates

pytestmark = pytest.mark.anyio


async def refusal(server: Any, client: Any, face: str = "asyncio", **options: Any) -> str:
    """The message of the error that a call ends with."""
    channel_options = {"tls": client, **options}
    async with asking(face, {"tls": server}, channel_options, **HANDLERS) as ask:
        with pytest.raises(gyr.Unavailable) as failed:
            await ask("unary", b"a")
    return failed.value.message


def own_context(certificates: Certificates, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


@pytest.mark.parametrize("face", FACES)
async def test_a_certificate_of_an_unknown_authority(
    face: str, certificates: Certificates, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)
    told = await refusal(certificates.server_tls(), gyr.ClientTLS(stranger), face)
    assert told == (
        "TLS handshake with 192.0.2.1:50051 failed: the certificate of the server does not hold: "
        "unable to get local issuer certificate"
    )


@pytest.mark.parametrize("face", FACES)
async def test_a_certificate_for_another_name(face: str, certificates: Certificates) -> None:
    client = certificates.client_tls(server_name="other.example")
    told = await refusal(certificates.server_tls(), client, face)
    assert told == (
        "TLS handshake with 192.0.2.1:50051 failed: the certificate of the server does not hold: "
        "Hostname mismatch, certificate is not valid for 'other.example'."
    )


async def test_the_authority_of_the_channel_is_what_is_verified(
    certificates: Certificates,
) -> None:
    told = await refusal(
        certificates.server_tls(), certificates.client_tls(), authority="other.example:50051"
    )
    assert "certificate is not valid for 'other.example'" in told


async def test_server_name_stands_in_for_the_target(certificates: Certificates) -> None:
    authority, folder = certificates.authority, certificates.folder
    issued = authority.issue_cert("hidden.example")
    server = gyr.ServerTLS(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())
    client = gyr.ClientTLS(folder / "ca.pem", server_name="hidden.example")
    async with serving({"tls": server}, {"tls": client}, **HANDLERS) as stub:
        assert (await stub.unary(message(b"a"))).value == b"a"


async def test_an_expired_certificate(certificates: Certificates) -> None:
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    issued = certificates.authority.issue_cert("192.0.2.1", not_after=then)
    server = gyr.ServerTLS(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())
    told = await refusal(server, certificates.client_tls())
    assert told.endswith("the certificate of the server does not hold: certificate has expired")


@pytest.mark.parametrize("face", FACES)
async def test_a_client_without_the_certificate_that_is_required(
    face: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.server")
    server = certificates.server_tls(client_ca=True, require_client=True)
    told = await refusal(server, certificates.client_tls(), face)
    # With TLS 1.3 the client is through with its handshake when the server refuses it.
    assert told.endswith("failed: TLS broke: the peer refused: tlsv13 alert certificate required")
    (line,) = {one.getMessage() for one in caplog.records if "TLS handshake" in one.getMessage()}
    assert line.startswith("TLS handshake with ipv4:192.0.2.254:")
    assert line.endswith("failed: the client showed no certificate, and one is required")


async def test_a_client_with_a_strangers_certificate(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.server")
    stranger = trustme.CA().issue_cert("stranger.example")
    client = gyr.ClientTLS(
        certificates.ca, stranger.cert_chain_pems[0].bytes(), stranger.private_key_pem.bytes()
    )
    told = await refusal(certificates.server_tls(client_ca=True), client)
    assert told.endswith("failed: TLS broke: the peer refused: tlsv1 alert unknown ca")
    (line,) = {one.getMessage() for one in caplog.records if "TLS handshake" in one.getMessage()}
    assert line.endswith(
        "the certificate of the client does not hold: unable to get local issuer certificate"
    )


# ---------------------------------------------------------------------- ALPN


class Greeting(asyncio.Protocol):
    """A TLS server of asyncio's own: no HTTP/2, only what the handshake needs."""


@pytest.mark.parametrize(("protocols", "agreed"), [((), "nothing"), (("http/1.1",), "nothing")])
async def test_a_server_that_does_not_agree_on_h2(
    protocols: tuple[str, ...], agreed: str, certificates: Certificates
) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Greeting, "127.0.0.1", 0, ssl=own_context(certificates, *protocols)
    )
    port = server.sockets[0].getsockname()[1]
    async with (
        asyncio.timeout(SAFETY_NET_S),
        server,
        gyr.Channel(f"localhost:{port}", tls=certificates.client_tls()) as channel,
    ):
        with pytest.raises(gyr.Unavailable) as failed:
            await Stub(channel).unary(message())
    assert failed.value.message.endswith(
        f"failed: 'h2' is needed as the protocol (ALPN), and {agreed} was agreed on"
    )


@pytest.mark.parametrize("protocols", [None, ["http/1.1"]])
async def test_a_client_that_does_not_offer_h2(
    protocols: list[str] | None, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.server")
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if protocols:
        context.set_alpn_protocols(protocols)
    async with (
        asyncio.timeout(SAFETY_NET_S),
        gyr.Server([Calls(**HANDLERS)], tls=certificates.server_tls()) as server,
    ):
        port = await server.listen("127.0.0.1:0")
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
        assert await reader.read() == b""
        writer.close()
        failures = server.stats().handshakes_failed
    assert failures == 1
    assert "'h2' is needed as the protocol (ALPN), and nothing was agreed on" in caplog.text


# ---------------------------------------------------------------------- no TLS at the other end


@pytest.mark.parametrize("face", FACES)
async def test_a_server_in_plaintext(face: str, certificates: Certificates) -> None:
    told = await refusal(None, certificates.client_tls(), face)
    assert told.startswith(
        "TLS handshake with 192.0.2.1:50051 failed: the server does not speak TLS, it began with '"
    )
    assert told.endswith("': to call it in plaintext, leave tls= out")


@pytest.mark.parametrize("face", FACES)
async def test_a_client_in_plaintext(
    face: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.server")
    told = await refusal(certificates.server_tls(), None, face)
    assert told == (
        "HTTP/2 handshake with 192.0.2.1:50051 failed: the server speaks TLS: give the channel "
        "tls=gyrfalcon.ClientTLS(...)"
    )
    assert "it does not speak TLS but HTTP/2 in plaintext" in caplog.text


# ---------------------------------------------------------------------- time and size


async def test_a_silent_connection_ends_at_its_deadline(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.server")
    clock = gyr.ManualClock()
    options = {"tls": certificates.server_tls(), "handshake_timeout": 20.0}
    async with serving(options, {"tls": certificates.client_tls()}, clock, **HANDLERS) as stub:
        silent = Silent()
        network, loop = stub.served.network, asyncio.get_running_loop()
        await network.connect(loop, silent, gyr_address(stub))
        clock.advance(19.9)
        assert (await stub.unary(message(b"a"))).value == b"a"
        assert not silent.lost.done()
        clock.advance(0.2)
        await silent.lost
        assert (await stub.unary(message(b"a"))).value == b"a"
        assert stub.served.server.stats().handshakes_failed == 1
    assert "failed: it did not end in time" in caplog.text


async def test_a_handshake_of_endless_bytes_is_cut(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.server")
    async with serving({"tls": certificates.server_tls()}, **HANDLERS) as stub:
        flood = Silent()
        loop = asyncio.get_running_loop()
        await stub.served.network.connect(loop, flood, gyr_address(stub))
        # A ClientHello that says it is 16 MB long, in whole records.
        flood.transport.write(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(0x4000 - 4))
        for _ in range(20):
            flood.transport.write(b"\x16\x03\x01\x40\x00" + bytes(0x4000))
        await flood.lost
    assert "TLS handshake with ipv4:192.0.2.254:" in caplog.text


class Silent(asyncio.Protocol):
    """A connection that is told nothing; `lost` is done when it is gone."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


def gyr_address(stub: Stub) -> Any:
    """The address of the server of a stub."""
    from gyrfalcon.policy.target import parse_listen_address

    return parse_listen_address(stub.served.target)
