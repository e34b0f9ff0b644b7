"""The compression cases, which look at the compressed flag of every message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import gyrfalcon as gyr
from tests.interop.faces import Call, CallFailed, Client, Face
from tests.interop.protos.grpc.testing.messages_pb2 import (
    BoolValue,
    ResponseParameters,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)

from .words import LARGE_REPLY, METHODS, OK, CaseFailed, expect, expect_zeros, large_request, zeros

COMPRESSED = BoolValue(value=True)
PLAIN = BoolValue(value=False)
REFUSED = int(gyr.StatusCode.INVALID_ARGUMENT)


def expect_flag(call: Call, compressed: bool) -> None:
    """The reply came so, as far as the library tells."""
    if call.reply_compressed is not None:
        expect("compressed flag of the reply", call.reply_compressed, compressed)


async def client_compressed_unary(face: Face) -> None:
    async with face.client() as client:
        probe = client.start(METHODS["UnaryCall"], large_request(expect_compressed=COMPRESSED))
        expect("status of the probe", (await probe.end()).code, REFUSED)
        await send_both(client)


async def client_compressed_unary_noprobe(face: Face) -> None:
    async with face.client() as client:
        await send_both(client)


async def send_both(client: Client) -> None:
    for expected, compression in ((COMPRESSED, "gzip"), (PLAIN, None)):
        request = large_request(expect_compressed=expected)
        call = client.start(METHODS["UnaryCall"], request, compression=compression)
        reply = await call.reply()
        expect_zeros("the reply's payload", reply.payload, LARGE_REPLY)


async def server_compressed_unary(face: Face) -> None:
    async with face.client() as client:
        for wanted in (COMPRESSED, PLAIN):
            call = client.start(METHODS["UnaryCall"], large_request(response_compressed=wanted))
            reply = await call.reply()
            expect_zeros("the reply's payload", reply.payload, LARGE_REPLY)
            expect_flag(call, wanted.value)


async def client_compressed_streaming(face: Face) -> None:
    async with face.client() as client:
        probe = client.start(METHODS["StreamingInputCall"])
        try:
            await probe.send(upload(27182, COMPRESSED))
            await probe.done_sending()
        except CallFailed as error:
            expect("status of the probe", error.code, REFUSED)
        expect("status of the probe", (await probe.end()).code, REFUSED)
        await stream_both(client)


async def client_compressed_streaming_noprobe(face: Face) -> None:
    async with face.client() as client:
        await stream_both(client)


def upload(size: int, expected: BoolValue) -> StreamingInputCallRequest:
    return StreamingInputCallRequest(payload=zeros(size), expect_compressed=expected)


async def stream_both(client: Client) -> None:
    call = client.start(METHODS["StreamingInputCall"], compression="gzip")
    await call.send(upload(27182, COMPRESSED))
    await call.send(upload(45904, PLAIN), compress=False)
    await call.done_sending()
    reply = await call.reply()
    expect("aggregated_payload_size", reply.aggregated_payload_size, 73086)


async def server_compressed_streaming(face: Face) -> None:
    wanted = ((31415, COMPRESSED), (92653, PLAIN))
    request = StreamingOutputCallRequest(
        response_parameters=[
            ResponseParameters(size=size, compressed=compressed) for size, compressed in wanted
        ]
    )
    async with face.client() as client:
        call = client.start(METHODS["StreamingOutputCall"], request)
        for size, compressed in wanted:
            reply = await call.receive()
            if reply is None:
                raise CaseFailed(f"the stream ended before the reply of {size} bytes")
            expect_zeros("the reply", reply.payload, size)
            expect_flag(call, compressed.value)
        expect("what follows the replies", await call.receive(), None)
        expect("status", (await call.end()).code, OK)


CASES: dict[str, Callable[[Face], Awaitable[None]]] = {
    case.__name__: case
    for case in (
        client_compressed_unary,
        server_compressed_unary,
        client_compressed_streaming,
        server_compressed_streaming,
        client_compressed_unary_noprobe,
        client_compressed_streaming_noprobe,
    )
}
