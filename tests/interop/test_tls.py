"""TLS and mutual TLS with grpcio, both ways."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import BlockingStub
from tests.call.faces import FACES
from tests.call.service import SAFETY_NET_S, SERVICE, Calls, Stub, message
from tests.certificates import CLIENT_NAME, Certificates

pytestmark = pytest.mark.anyio

PATH = f"/{SERVICE}/Unary"


async def tell_peer(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return message(
        ",".join((request.value.decode(), ctx.peer.auth_type, *ctx.peer.identities)).encode()
    )


def call_grpcio(port: int, credentials: grpc.ChannelCredentials) -> bytes:
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        method = channel.unary_unary(
            PATH,
            request_serializer=BytesValue.SerializeToString,
            response_deserializer=BytesValue.FromString,
        )
        found: bytes = method(message(b"hello"), timeout=SAFETY_NET_S).value
        return found


async def test_a_client_of_grpcio(certificates: Certificates) -> None:
    credentials = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    async with gyr.Server([Calls(unary=tell_peer)], tls=certificates.server_tls()) as server:
        port = await server.listen("localhost:0")
        assert await asyncio.to_thread(call_grpcio, port, credentials) == b"hello,tls"


async def test_a_client_of_grpcio_with_a_certificate(certificates: Certificates) -> None:
    credentials = grpc.ssl_channel_credentials(
        certificates.ca.read_bytes(),
        certificates.client_key.read_bytes(),
        certificates.client_cert.read_bytes(),
    )
    tls = certificates.server_tls(client_ca=True, require_client=True)
    async with gyr.Server([Calls(unary=tell_peer)], tls=tls) as server:
        port = await server.listen("localhost:0")
        told = await asyncio.to_thread(call_grpcio, port, credentials)
    assert told == f"hello,tls,{CLIENT_NAME}".encode()


class GrpcioServer:
    """A server of grpcio's with one method, which tells what it knows of its client."""

    def __init__(self, credentials: grpc.ServerCredentials) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(2)
        self._server = grpc.server(self._pool)
        handler = grpc.unary_unary_rpc_method_handler(
            self._unary,
            request_deserializer=BytesValue.FromString,
            response_serializer=BytesValue.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Unary": handler}),)
        )
        self.port = self._server.add_secure_port("localhost:0", credentials)

    def _unary(self, request: BytesValue, context: Any) -> BytesValue:
        names = context.auth_context().get("x509_subject_alternative_name", [])
        token = dict(context.invocation_metadata()).get("authorization", "")
        return message(b",".join([request.value, *names, token.encode()]))

    def __enter__(self) -> GrpcioServer:
        self._server.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown()


def grpcio_credentials(certificates: Certificates, mutual: bool) -> grpc.ServerCredentials:
    pair = certificates.server_key.read_bytes(), certificates.server_cert.read_bytes()
    trusted = certificates.ca.read_bytes() if mutual else None
    return grpc.ssl_server_credentials([pair], trusted, require_client_auth=mutual)


async def ask(face: str, port: int, tls: gyr.ClientTLS) -> bytes:
    options: dict[str, Any] = {"tls": tls, "credentials": lambda info: "token"}
    if face == "asyncio":
        async with gyr.Channel(f"localhost:{port}", **options) as channel:
            return (await Stub(channel).unary(message(b"hello"), timeout=SAFETY_NET_S)).value

    def call() -> bytes:
        with gyr.blocking.Channel(f"localhost:{port}", **options) as channel:
            return BlockingStub(channel).unary(message(b"hello"), timeout=SAFETY_NET_S).value

    return await asyncio.to_thread(call)


@pytest.mark.parametrize("face", FACES)
async def test_a_server_of_grpcio(face: str, certificates: Certificates) -> None:
    with GrpcioServer(grpcio_credentials(certificates, mutual=False)) as server:
        told = await ask(face, server.port, certificates.client_tls())
    assert told == b"hello,Bearer token"


@pytest.mark.parametrize("face", FACES)
async def test_a_server_of_grpcio_that_wants_a_certificate(
    face: str, certificates: Certificates
) -> None:
    with GrpcioServer(grpcio_credentials(certificates, mutual=True)) as server:
        told = await ask(face, server.port, certificates.mutual_tls())
    assert told == f"hello,{CLIENT_NAME},Bearer token".encode()


async def test_no_call_of_grpcio_fails_while_certificates_change(tmp_path: Any) -> None:
    """grpcio's clients connect anew again and again, through five rotations."""
    files = Certificates(tmp_path)
    tls = files.server_tls()
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes())
    async with gyr.Server([Calls(unary=tell_peer)], tls=tls) as server:
        port = await server.listen("localhost:0")
        for _ in range(5):
            files.issue("server", "localhost")
            tls.reload()
            told = await asyncio.gather(
                *(asyncio.to_thread(call_grpcio, port, credentials) for _ in range(3))
            )
            assert set(told) == {b"hello,tls"}
