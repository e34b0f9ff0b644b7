"""A peer that speaks in single frames over the network in memory, and a clock to move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import hpack
from google.protobuf.wrappers_pb2 import BytesValue
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
)

import gyrfalcon as gyr
from gyrfalcon.policy.target import TcpAddress
from tests.call.service import SAFETY_NET_S, Calls, Stub

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WHERE = TcpAddress("192.0.2.1", 50051)
ADDRESS = str(WHERE)
REQUEST = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/tests.Calls/Unary"),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
RESPONSE = ((":status", "200"), ("content-type", "application/grpc"))
EMPTY_MESSAGE = bytes(5)
OPAQUE = b"12345678"
NO_ERROR, INTERNAL, FLOW_CONTROL, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 2, 3, 7, 8, 11
LAST_POSSIBLE = 2**31 - 1

FrameT = TypeVar("FrameT", bound=Frame)


async def settle(turns: int = 20) -> None:
    """Let the loop turn until all that can happen at this time has."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Peer(asyncio.Protocol):
    """One end of a connection in memory. It answers nothing by itself but SETTINGS, and PING while
    `answers_pings`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        """What came, in order, and was not yet asked for."""
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()
        self.heads: dict[int, list[tuple[str, str]]] = {}
        self.answers_pings = True
        self.greets = False
        """Whether it sends the preface and SETTINGS of a client at once."""
        self.answers_settings = True
        self.unanswered = 0
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self._came = asyncio.Event()
        self._bytes = b""
        self._expects_preface = False
        self.transport: Any = None

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.connected.set()
        if self.greets:
            self.send_bytes(PREFACE)
            self.settle_settings()

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        if self._expects_preface:
            if len(self._bytes) < len(PREFACE):
                return
            assert self._bytes.startswith(PREFACE)
            self._bytes = self._bytes[len(PREFACE) :]
            self._expects_preface = False
        while len(self._bytes) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._bytes[:9]))
            if len(self._bytes) < 9 + length:
                break
            frame.parse_body(memoryview(self._bytes[9 : 9 + length]))
            self._bytes = self._bytes[9 + length :]
            self._take(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._came.set()

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.unanswered += 1
            self.answer_settings()
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags and self.answers_pings:
            self.send(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]))
        if isinstance(frame, HeadersFrame):
            # In order, as the compression of later ones stands on them.
            fields = self.decoder.decode(frame.data)
            self.heads[id(frame)] = [(str(name), str(value)) for name, value in fields]
        self.frames.append(frame)
        self._came.set()

    def answer_settings(self) -> None:
        """Acknowledge the SETTINGS that came, unless it keeps silent."""
        while self.answers_settings and self.unanswered:
            self.unanswered -= 1
            self.send(SettingsFrame(flags=["ACK"]))

    # ------------------------------------------------------------------ saying

    def send(self, *frames: Frame) -> None:
        """Send these frames."""
        if not self.closed.is_set():
            self.transport.write(b"".join(frame.serialize() for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.transport.write(data)

    def settle_settings(self, **settings: int) -> None:
        """Send SETTINGS."""
        names = {name: getattr(SettingsFrame, name) for name in settings}
        self.send(SettingsFrame(settings={names[name]: settings[name] for name in settings}))

    def ping(self, data: bytes = OPAQUE) -> None:
        """Send a PING."""
        self.send(PingFrame(opaque_data=data))

    def request(self, stream_id: int = 1, *, end: bool = True, body: bytes = EMPTY_MESSAGE) -> None:
        """Send a request to Unary."""
        block = self.encoder.encode(REQUEST)
        self.send(HeadersFrame(stream_id, block, flags=["END_HEADERS"]))
        if body:
            self.send(DataFrame(stream_id, body, flags=["END_STREAM"] if end else []))

    def respond(self, stream_id: int, body: bytes = EMPTY_MESSAGE, status: str = "0") -> None:
        """Send a whole response."""
        head = self.encoder.encode(RESPONSE)
        trailers = self.encoder.encode((("grpc-status", status),))
        self.send(
            HeadersFrame(stream_id, head, flags=["END_HEADERS"]),
            DataFrame(stream_id, body),
            HeadersFrame(stream_id, trailers, flags=["END_HEADERS", "END_STREAM"]),
        )

    def go_away(self, last: int, code: int = NO_ERROR, data: bytes = b"") -> None:
        """Send GOAWAY."""
        self.send(GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=data))

    # ------------------------------------------------------------------ hearing

    async def next(self, kind: type[FrameT], *, ack: bool = False) -> FrameT:
        """The next frame of that kind; others before it are passed over."""
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if isinstance(frame, kind) and ("ACK" in frame.flags) == ack:
                    return frame
            if self.closed.is_set():
                raise ConnectionError("the connection ended before that")
            self._came.clear()
            await self._came.wait()

    async def next_head(self) -> list[tuple[str, str]]:
        """The fields of the next HEADERS."""
        return self.heads[id(await self.next(HeadersFrame))]

    async def round_trip(self) -> None:
        """Wait until the other end has answered what came before (a PING does that)."""
        self.ping(b"roundtrp")
        while (await self.next(PingFrame, ack=True)).opaque_data != b"roundtrp":
            pass

    def seen(self, kind: type[FrameT]) -> list[FrameT]:
        """The frames of that kind that came and were not asked for."""
        return [
            frame for frame in self.frames if isinstance(frame, kind) and "ACK" not in frame.flags
        ]


class Serving:
    """A server on a network in memory, whose clients are peers."""

    def __init__(self, server: gyr.Server, network: gyr.MemoryNetwork, clock: Any) -> None:
        self.server = server
        self.network = network
        self.clock: gyr.ManualClock = clock

    async def connect(self, *, shake: bool = True) -> Peer:
        """A client; `shake`: its preface and SETTINGS are sent, and the server's came."""
        peer = Peer()
        peer.greets = peer.answers_settings = shake
        await self.network.connect(asyncio.get_running_loop(), peer, WHERE)
        if shake:
            await peer.next(SettingsFrame, ack=True)
        return peer

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        await settle()
        self.clock.advance(seconds)
        await settle()

    def limits(self) -> dict[str, int]:
        """The limits that were met."""
        return dict(self.server.stats().limits)


@asynccontextmanager
async def server(options: dict[str, Any] | None = None, **handlers: Any) -> AsyncIterator[Serving]:
    """A server with these options and handlers."""
    clock = gyr.ManualClock()
    network = gyr.MemoryNetwork(clock=clock)
    made = gyr.Server([Calls(**handlers)], network=network, **(options or {}))
    async with asyncio.timeout(SAFETY_NET_S):
        await made.listen(ADDRESS)
        try:
            yield Serving(made, network, clock)
        finally:
            network.faults(ADDRESS).clear()
            stopping = asyncio.ensure_future(made.stop(0))
            while not stopping.done():
                clock.advance(1)
                await settle()
            await stopping


class Calling:
    """A channel on a network in memory, whose servers are peers."""

    def __init__(self, network: gyr.MemoryNetwork, clock: Any) -> None:
        self.network = network
        self.clock: gyr.ManualClock = clock
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.channel: gyr.Channel
        self.stub: Stub

    def _accept(self) -> Peer:
        peer = Peer()
        peer._expects_preface = True
        peer.answers_settings = False
        self.peers.put_nowait(peer)
        return peer

    async def accept(self, **settings: int) -> Peer:
        """The next connection, its handshake made."""
        peer = await self.peers.get()
        await peer.connected.wait()
        peer.settle_settings(**settings)
        peer.answers_settings = True
        peer.answer_settings()
        await peer.next(SettingsFrame, ack=True)
        return peer

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        await settle()
        self.clock.advance(seconds)
        await settle()

    def limits(self) -> dict[str, int]:
        """The limits that were met."""
        return dict(self.channel.stats().limits)


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[Calling]:
    """A channel with these options, and who accepts its connections."""
    clock = gyr.ManualClock()
    network = gyr.MemoryNetwork(clock=clock)
    calling = Calling(network, clock)
    listener = await network.listen(asyncio.get_running_loop(), calling._accept, WHERE)
    try:
        async with asyncio.timeout(SAFETY_NET_S):
            async with gyr.Channel(ADDRESS, network=network, **options) as channel:
                calling.channel = channel
                calling.stub = Stub(channel)
                yield calling
    finally:
        listener.close()
        await settle()


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    """A handler that answers at once."""
    return request


class Hanging:
    """A handler of Unary that waits until it is told to go on."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.running = 0

    async def __call__(self, request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        self.running += 1
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.running -= 1
        return request
