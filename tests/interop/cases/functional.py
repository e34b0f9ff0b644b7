"""The functional cases: four patterns, metadata, statuses, cancellation, deadlines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import gyrfalcon as gyr
from tests.interop.faces import Call, CallFailed, Client, Pair
from tests.interop.protos.grpc.testing.empty_pb2 import Empty
from tests.interop.protos.grpc.testing.messages_pb2 import (
    EchoStatus,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)

from .words import (
    LARGE_REPLY,
    METHODS,
    NO_SERVICE,
    OK,
    CaseFailed,
    expect,
    expect_zeros,
    large_request,
    zeros,
)

UPLOADED = (27182, 8, 1828, 45904)
DOWNLOADED = (31415, 9, 2653, 58979)

ECHO_INITIAL: Pair = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
ECHO_TRAILING: Pair = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")

PLAIN_MESSAGE = "test status message"
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP \U0001f608\t\n"

PICKED_CALLS = 20


async def expect_end(
    call: Call, code: gyr.StatusCode | int, message: str | None = None
) -> list[Pair]:
    """The call ends so; its trailing metadata."""
    end = await call.end()
    expect("status", (end.code, end.message if message is not None else None), (int(code), message))
    return end.trailing


async def empty_unary(client: Client) -> None:
    reply = await client.unary(METHODS["EmptyCall"], Empty())
    expect("reply", reply.SerializeToString(), b"")


async def large_unary(client: Client) -> None:
    reply = await client.unary(METHODS["UnaryCall"], large_request())
    expect_zeros("the reply's payload", reply.payload, LARGE_REPLY)


async def client_streaming(client: Client) -> None:
    call = client.start(METHODS["StreamingInputCall"])
    for size in UPLOADED:
        await call.send(StreamingInputCallRequest(payload=zeros(size)))
    await call.done_sending()
    reply = await call.reply()
    expect("aggregated_payload_size", reply.aggregated_payload_size, 74922)
    await expect_end(call, OK)


async def server_streaming(client: Client) -> None:
    request = StreamingOutputCallRequest(
        response_parameters=[ResponseParameters(size=size) for size in DOWNLOADED]
    )
    call = client.start(METHODS["StreamingOutputCall"], request)
    for number, size in enumerate(DOWNLOADED):
        reply = await call.receive()
        expect(f"reply {number} came", reply is not None, True)
        expect_zeros(f"reply {number}", reply.payload, size)
    expect("what follows the replies", await call.receive(), None)
    await expect_end(call, OK)


def ping(upload: int, download: int) -> StreamingOutputCallRequest:
    return StreamingOutputCallRequest(
        response_parameters=[ResponseParameters(size=download)], payload=zeros(upload)
    )


async def ping_pong(client: Client) -> None:
    call = client.start(METHODS["FullDuplexCall"])
    for upload, download in zip(UPLOADED, DOWNLOADED, strict=True):
        await call.send(ping(upload, download))
        reply = await call.receive()
        expect("a reply came", reply is not None, True)
        expect_zeros("the reply", reply.payload, download)
    await call.done_sending()
    expect("what follows the replies", await call.receive(), None)
    await expect_end(call, OK)


async def empty_stream(client: Client) -> None:
    call = client.start(METHODS["FullDuplexCall"])
    await call.done_sending()
    expect("replies", await call.receive(), None)
    await expect_end(call, OK)


async def timeout_on_sleeping_server(client: Client) -> None:
    call = client.start(METHODS["FullDuplexCall"], timeout=0.001)
    try:
        await call.send(StreamingOutputCallRequest(payload=zeros(27182)))
        await call.receive()
    except CallFailed as error:
        expect("status", error.code, int(gyr.StatusCode.DEADLINE_EXCEEDED))
    await expect_end(call, gyr.StatusCode.DEADLINE_EXCEEDED)


async def cancel_after_begin(client: Client) -> None:
    call = client.start(METHODS["StreamingInputCall"])
    call.cancel()
    await expect_end(call, gyr.StatusCode.CANCELLED)


async def cancel_after_first_response(client: Client) -> None:
    call = client.start(METHODS["FullDuplexCall"])
    await call.send(ping(27182, 31415))
    reply = await call.receive()
    expect_zeros("the reply", reply.payload, 31415)
    call.cancel()
    await expect_end(call, gyr.StatusCode.CANCELLED)


async def expect_status_echoed(client: Client, status: EchoStatus, *, stream: bool) -> None:
    try:
        await client.unary(METHODS["UnaryCall"], SimpleRequest(response_status=status))
    except CallFailed as error:
        expect("status", (error.code, error.message), (status.code, status.message))
    else:
        raise CaseFailed(f"the call succeeded; it was to fail with {status.code}")
    if not stream:
        return
    call = client.start(METHODS["FullDuplexCall"])
    await call.send(StreamingOutputCallRequest(response_status=status))
    await call.done_sending()
    try:
        reply = await call.receive()
    except CallFailed:
        pass
    else:
        raise CaseFailed(f"the call went on with {reply!r}; it was to fail with {status.code}")
    await expect_end(call, status.code, status.message)


async def status_code_and_message(client: Client) -> None:
    await expect_status_echoed(client, EchoStatus(code=2, message=PLAIN_MESSAGE), stream=True)


async def special_status_message(client: Client) -> None:
    await expect_status_echoed(client, EchoStatus(code=2, message=SPECIAL_MESSAGE), stream=False)


async def custom_metadata(client: Client) -> None:
    echoed = [ECHO_INITIAL, ECHO_TRAILING]
    unary = client.start(METHODS["UnaryCall"], large_request(), metadata=echoed)
    reply = await unary.reply()
    expect_zeros("the reply's payload", reply.payload, LARGE_REPLY)
    await expect_echo(unary)
    stream = client.start(METHODS["FullDuplexCall"], metadata=echoed)
    await stream.send(ping(0, LARGE_REPLY))
    await stream.done_sending()
    reply = await stream.receive()
    expect_zeros("the reply", reply.payload, LARGE_REPLY)
    expect("what follows the reply", await stream.receive(), None)
    await expect_echo(stream)


async def expect_echo(call: Call) -> None:
    initial = [pair for pair in await call.initial_metadata() if pair[0] == ECHO_INITIAL[0]]
    expect("initial metadata", initial, [ECHO_INITIAL])
    trailing = [pair for pair in await expect_end(call, OK) if pair[0] == ECHO_TRAILING[0]]
    expect("trailing metadata", trailing, [ECHO_TRAILING])


async def unimplemented_method(client: Client) -> None:
    call = client.start(METHODS["UnimplementedCall"], Empty())
    await expect_end(call, gyr.StatusCode.UNIMPLEMENTED)


async def unimplemented_service(client: Client) -> None:
    call = client.start(NO_SERVICE, Empty())
    await expect_end(call, gyr.StatusCode.UNIMPLEMENTED)


async def pick_first_unary(client: Client) -> None:
    replies = [
        await client.unary(METHODS["UnaryCall"], SimpleRequest(fill_server_id=True))
        for _ in range(PICKED_CALLS)
    ]
    expect("the reply has a server_id", bool(replies[0].server_id), True)
    expect("servers", {reply.server_id for reply in replies}, {replies[0].server_id})


CASES: dict[str, Callable[[Client], Awaitable[None]]] = {
    case.__name__: case
    for case in (
        empty_unary,
        large_unary,
        client_streaming,
        server_streaming,
        ping_pong,
        empty_stream,
        timeout_on_sleeping_server,
        cancel_after_begin,
        cancel_after_first_response,
        status_code_and_message,
        special_status_message,
        custom_metadata,
        unimplemented_method,
        unimplemented_service,
        pick_first_unary,
    )
}
