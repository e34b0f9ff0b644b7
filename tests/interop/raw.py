"""HTTP/2 peers by way of h2, which say exactly what a test wants and no gRPC library would."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import h2.events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from tests.call.service import SAFETY_NET_S
from tests.interop.frames import Splitter

Pairs = Iterable[tuple[str, str]]
EventT = TypeVar("EventT", bound=h2.events.Event)

REQUEST_HEAD = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/tests.Calls/Unary",
    ":authority": "localhost",
    "te": "trailers",
    "content-type": "application/grpc",
}
RESPONSE_HEAD = {":status": "200", "content-type": "application/grpc"}


def fields_of(headers: Iterable[Any] | None) -> dict[str, str]:
    """Header fields as h2 gives them, each name once."""
    return {str(name): str(value) for name, value in headers or ()}


def frame(data: bytes, *, compressed: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    return bytes([compressed]) + len(data).to_bytes(4, "big") + data


@dataclass
class Half:
    """One direction of a stream: what came, to its end."""

    stream_id: int
    head: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """The `grpc-status`, wherever it stands."""
        return int(self.trailers.get("grpc-status") or self.head["grpc-status"])

    @property
    def text(self) -> str:
        """The `grpc-message` as it was sent."""
        return {**self.head, **self.trailers}.get("grpc-message", "")


class RawConnection:
    """One end of a connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool
    ) -> None:
        self._reader = reader
        self._writer = writer
        # Whether what came is credited, so that the peer may send more.
        self.gives_credit = True
        self.h2 = H2Connection(
            H2Configuration(
                client_side=client,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._open_state = ConnectionState.CLIENT_OPEN if client else ConnectionState.SERVER_OPEN
        self._events: deque[h2.events.Event] = deque()
        self._splitter = Splitter(preface=not client)
        self._halves: dict[int, Half] = {}

    async def start(self) -> None:
        """Send the preface and the SETTINGS."""
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        """Send what h2 was told."""
        self._writer.write(self.h2.data_to_send())
        await self._writer.drain()

    async def go_away(
        self, last_stream_id: int, code: int = ErrorCodes.NO_ERROR, data: bytes = b""
    ) -> None:
        """Send GOAWAY and go on: h2 itself would say nothing more."""
        goaway = GoAwayFrame(last_stream_id=last_stream_id, error_code=code, additional_data=data)
        await self.send_bytes(self.h2.data_to_send() + goaway.serialize())

    async def round_trip(self) -> None:
        """Wait until the peer has read all that was sent so far, and has answered what it would."""
        self.h2.ping(b"roundtrp")
        await self.flush()
        await self.next_event(h2.events.PingAckReceived)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close the socket, whatever is open on it."""
        self._writer.close()
        with suppress(ConnectionError):  # the peer was first
            await self._writer.wait_closed()

    # ------------------------------------------------------------------ what comes

    async def _read(self) -> None:
        """Take in what the peer sends next. ConnectionError at its end."""
        data = await self._reader.read(65536)
        if not data:
            raise ConnectionResetError("the peer closed the connection")
        for piece in self._splitter.pieces(data):
            for event in self.h2.receive_data(piece):
                self._note(event)
                self._events.append(event)
        await self.flush()

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                self._half(event.stream_id).head = fields_of(event.headers)
            case h2.events.TrailersReceived():
                self._half(event.stream_id).trailers = fields_of(event.headers)
            case h2.events.DataReceived():
                self._half(event.stream_id).body += event.data or b""
                if event.flow_controlled_length and self.gives_credit:
                    self.h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id or 0
                    )
            case h2.events.StreamEnded():
                self._half(event.stream_id).ended = True
            case h2.events.StreamReset():
                self._half(event.stream_id).reset = int(event.error_code or 0)
            case h2.events.ConnectionTerminated():
                # h2 stops here, though streams go on after a GOAWAY (RFC 9113 6.8).
                self.h2.state_machine.state = self._open_state

    def _half(self, stream_id: int | None) -> Half:
        assert stream_id is not None
        return self._halves.setdefault(stream_id, Half(stream_id))

    async def next_event(self, kind: type[EventT]) -> EventT:
        """The next event of that kind; others before it are passed over."""
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, kind):
                    return event
            await self._read()

    async def whole(self, stream_id: int) -> Half:
        """What the peer sends on a stream, when it has ended or reset it."""
        half = self._half(stream_id)
        while not half.ended and half.reset is None:
            await self._read()
        return half

    async def reset_of(self, stream_id: int) -> int:
        """The code with which the peer resets a stream, sooner or later."""
        half = self._half(stream_id)
        while half.reset is None:
            await self._read()
        return half.reset

    async def closed_by_peer(self) -> None:
        """Wait until the peer closes the connection."""
        try:
            while True:
                await self._read()
        except ConnectionError:
            return

    # ------------------------------------------------------------------ a client's side

    async def open(self, head: Pairs, body: bytes | None = None, *, end: bool = True) -> int:
        """Send a request; its stream."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, list(head), end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=end)
        await self.flush()
        return stream_id

    async def request(self, body: bytes | None = frame(b""), **head: str) -> Half:
        """The answer to a request to Unary. `head` changes fields; an empty one is left out."""
        changed = {
            **REQUEST_HEAD,
            **{key.replace("_", "-").replace("pseudo-", ":"): value for key, value in head.items()},
        }
        pairs = [(key, value) for key, value in changed.items() if value]
        return await self.whole(await self.open(pairs, body))

    # ------------------------------------------------------------------ a server's side

    async def accept_request(self) -> Half:
        """The head of the next request."""
        event = await self.next_event(h2.events.RequestReceived)
        return self._half(event.stream_id)

    async def whole_request(self) -> Half:
        """The next request, to its end."""
        return await self.whole((await self.accept_request()).stream_id)

    async def respond(
        self,
        stream_id: int,
        body: bytes | None = None,
        trailers: Pairs | None = (("grpc-status", "0"),),
        **head: str,
    ) -> None:
        """Send a response: head, body, trailers; without a body or trailers the head is all."""
        changed = {
            **RESPONSE_HEAD,
            **{key.replace("_", "-").replace("pseudo-", ":"): value for key, value in head.items()},
        }
        pairs = [(key, value) for key, value in changed.items() if value]
        if body is None and trailers is not None:
            pairs += trailers
            trailers = None
        self.h2.send_headers(stream_id, pairs, end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=trailers is None)
            if trailers is not None:
                self.h2.send_headers(stream_id, list(trailers), end_stream=True)
        await self.flush()

    async def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream."""
        self.h2.reset_stream(stream_id, code)
        await self.flush()


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawConnection]:
    """A connection to a server on this machine, its preface sent."""
    async with asyncio.timeout(SAFETY_NET_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = RawConnection(reader, writer, client=True)
        try:
            await connection.start()
            yield connection
        finally:
            await connection.close()


class RawServer:
    """Listens, and leaves every connection to the test."""

    port: int

    def __init__(self) -> None:
        self._accepted: asyncio.Queue[RawConnection] = asyncio.Queue()
        self._connections: list[RawConnection] = []

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RawConnection(reader, writer, client=False)
        self._connections.append(connection)
        self._accepted.put_nowait(connection)

    async def accept(self, *, start: bool = True) -> RawConnection:
        """The next connection; with `start` its SETTINGS are sent."""
        connection = await self._accepted.get()
        if start:
            await connection.start()
        return connection


@asynccontextmanager
async def raw_server() -> AsyncIterator[RawServer]:
    """A server on a free port of this machine."""
    async with asyncio.timeout(SAFETY_NET_S):
        raw = RawServer()
        server = await asyncio.start_server(raw._accept, "127.0.0.1", 0)
        raw.port = server.sockets[0].getsockname()[1]
        try:
            yield raw
        finally:
            server.close()
            for connection in raw._connections:
                await connection.close()
            await server.wait_closed()
