"""One call as the runner asks for it, step by step; the face that makes it is left open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

import gyrfalcon as gyr
from tests.conformance.proto.connectrpc.conformance.v1 import config_pb2, service_pb2
from tests.conformance.proto.connectrpc.conformance.v1.client_compat_pb2 import (
    ClientCompatRequest,
    ClientResponseResult,
)
from tests.conformance.proto.connectrpc.conformance.v1.service_gyr import ConformanceServiceService
from tests.conformance.protocol import error_of, headers_of

SERVICE = ConformanceServiceService.__gyr_service__
METHODS = {method.name: method for method in SERVICE.methods}
FULL_DUPLEX = config_pb2.STREAM_TYPE_FULL_DUPLEX_BIDI_STREAM


class Steps(Protocol):
    """What can be done with a call, on either face."""

    async def send(self, request: Message) -> None: ...
    async def done_sending(self) -> None: ...
    async def receive(self) -> Any:
        """The next reply, None after the last."""

    async def status(self) -> gyr.Status: ...
    async def initial_metadata(self) -> gyr.Metadata: ...
    async def trailing_metadata(self) -> gyr.Metadata: ...
    def cancel(self) -> object: ...
    async def pause(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Cancelling:
    """When the runner wants the call cancelled."""

    before_half_close: bool = False
    after_half_close: float | None = None
    """Seconds."""
    after_replies: int = 0


@dataclass(frozen=True)
class Script:
    """A request of the runner's, understood."""

    method: gyr.Method[Any, Any]
    requests: list[Message]
    full_duplex: bool
    delay: float
    """Seconds before each request of a client's stream."""
    cancelling: Cancelling


@dataclass
class Heard:
    """What has come of a call."""

    payloads: list[service_pb2.ConformancePayload] = field(default_factory=list)
    unsent: int = 0


def read_script(asked: ClientCompatRequest) -> Script:
    """ValueError for a request that cannot be carried out."""
    if asked.HasField("service") and asked.service != SERVICE.name:
        raise ValueError(f"service {asked.service!r} is not known; {SERVICE.name!r} is")
    method = METHODS.get(asked.method)
    if method is None:
        raise ValueError(f"method {asked.method!r} is not one of {', '.join(METHODS)}")
    requests: list[Message] = []
    for packed in asked.request_messages:
        request = method.request()
        if not packed.Unpack(request):
            raise ValueError(f"{method.name} has no requests of the type {packed.type_url!r}")
        requests.append(request)
    if len(requests) != 1 and not method.pattern.client_streaming:
        raise ValueError(f"{method.name} has one request, and {len(requests)} are to be sent")
    return Script(
        method,
        requests,
        asked.stream_type == FULL_DUPLEX,
        asked.request_delay_ms / 1000,
        read_cancelling(asked),
    )


def read_cancelling(asked: ClientCompatRequest) -> Cancelling:
    if not asked.HasField("cancel"):
        return Cancelling()
    match asked.cancel.WhichOneof("cancel_timing"):
        case "before_close_send":
            return Cancelling(before_half_close=True)
        case "after_num_responses":
            return Cancelling(after_replies=asked.cancel.after_num_responses)
        case _:
            return Cancelling(after_half_close=asked.cancel.after_close_send_ms / 1000)


async def converse(script: Script, call: Steps) -> ClientResponseResult:
    """Carry the script out on a call that has begun, and tell what came of it."""
    heard = Heard()
    try:
        await send_requests(script, call, heard)
        await half_close(script, call)
        while await receive_one(script, call, heard):
            pass
    except (gyr.RpcError, EOFError):
        pass  # what the call ended with is told by its status
    status = await call.status()
    if not status.ok and not script.method.pattern.server_streaming:
        heard.payloads.clear()
    return ClientResponseResult(
        response_headers=headers_of(await initial_metadata(call)),
        payloads=heard.payloads,
        error=None if status.ok else error_of(status),
        response_trailers=headers_of(await call.trailing_metadata()),
        num_unsent_requests=heard.unsent,
    )


async def send_requests(script: Script, call: Steps, heard: Heard) -> None:
    if not script.method.pattern.client_streaming:
        return  # its one request went with the call
    for sent, request in enumerate(script.requests):
        await call.pause(script.delay)
        try:
            await call.send(request)
        except (gyr.RpcError, EOFError):
            heard.unsent = len(script.requests) - sent
            raise
        if script.full_duplex and not await receive_one(script, call, heard):
            heard.unsent = len(script.requests) - sent - 1
            raise EOFError("the server has ended the call")


async def half_close(script: Script, call: Steps) -> None:
    cancelling = script.cancelling
    if cancelling.before_half_close:
        call.cancel()
    if script.method.pattern.client_streaming:
        await call.done_sending()
    if cancelling.after_half_close is not None:
        await call.pause(cancelling.after_half_close)
        call.cancel()


async def receive_one(script: Script, call: Steps, heard: Heard) -> bool:
    """Whether there was one more reply."""
    reply = await call.receive()
    if reply is None:
        return False
    payload = getattr(reply, "payload", None)
    heard.payloads.append(payload or service_pb2.ConformancePayload())
    if len(heard.payloads) == script.cancelling.after_replies:
        call.cancel()
    return True


async def initial_metadata(call: Steps) -> gyr.Metadata:
    try:
        return await call.initial_metadata()
    except gyr.RpcError:
        return gyr.Metadata()  # the call ended without any
