"""The server of gRPC's negative HTTP/2 cases: it answers UnaryCall, misbehaving as its case says.

    python -m tests.interop.http2_server --port 8080 --test_case goaway

It says "listening on PORT", serves until SIGINT or SIGTERM, and exits with 1 and a reason when a
client did what it should not. Built on h2: nothing of Gyrfalcon stands on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from tests.interop import flags
from tests.interop.frames import Splitter
from tests.interop.protos.grpc.testing.messages_pb2 import Payload, SimpleRequest, SimpleResponse

PATH = b"/grpc.testing.TestService/UnaryCall"
HEAD = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS = ((b"grpc-status", b"0"),)
NO_ERROR = h2.errors.ErrorCodes.NO_ERROR
CLOSING_S = 5.0
"""For clients to be gone when their calls are over."""

CASES = ("goaway", "rst_after_header", "rst_during_data", "rst_after_data", "ping", "max_streams")


@dataclass
class Record:
    """What all connections of one server did."""

    case: str
    calls: int = 0
    faults: list[str] = field(default_factory=list)
    connections: set[Connection] = field(default_factory=set)
    idle: asyncio.Event = field(default_factory=asyncio.Event)


Steps = Iterator[bytes | None]
"""What is yet to be done in the answer to one call: data to be sent, or (None) something done."""


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self._splitter = Splitter(preface=True)
        self._requests: dict[int, bytearray] = {}
        self._answers: dict[int, tuple[Steps, bytes]] = {}
        self._pings = 0
        self._goaway_sent = False

    # ------------------------------------------------------------------ asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's derives from none
        self._record.connections.add(self)
        self._record.idle.clear()
        if self._record.case == "max_streams":
            self._h2.local_settings = h2.settings.Settings(
                client=False,
                initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1},
            )
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for piece in self._splitter.pieces(data):
                for event in self._h2.receive_data(piece):
                    self._handle(event)
        except h2.exceptions.ProtocolError as error:
            self._fault(f"the client breaks HTTP/2: {error!r}")
            self._flush()
            self._transport.close()
            return
        self._go_on()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pings:
            self._fault(f"{self._pings} PINGs have no ACK at the end of the connection")
        self._record.connections.discard(self)
        if not self._record.connections:
            self._record.idle.set()

    def close(self) -> None:
        self._transport.close()

    # ------------------------------------------------------------------ requests

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._requests[event.stream_id] = bytearray()
            path = dict(event.headers).get(b":path")
            if path != PATH:
                self._fault(f"a call of {path!r}; this case is about {PATH!r}")
            if self._goaway_sent:
                self._fault(f"a call on the connection that got a GOAWAY: {event.stream_id}")
        elif isinstance(event, h2.events.DataReceived):
            self._requests[event.stream_id] += event.data
            if event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self._answers.pop(event.stream_id, None)
        elif isinstance(event, h2.events.PingAckReceived):
            self._pings -= 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            # What runs goes on, and a PING may follow; h2 would hear of nothing more.
            self._h2.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN

    def _answer(self, stream_id: int) -> None:
        self._record.calls += 1
        request = SimpleRequest.FromString(bytes(self._requests.pop(stream_id)[5:]))
        reply = SimpleResponse(payload=Payload(body=bytes(request.response_size)))
        data = reply.SerializeToString()
        message = b"\0" + len(data).to_bytes(4, "big") + data
        steps: Callable[[int, bytes], Steps] = getattr(self, f"_{self._record.case}", self._plain)
        self._answers[stream_id] = (steps(stream_id, message), b"")

    # ------------------------------------------------------------------ answers

    def _go_on(self) -> None:
        """As far as the client's windows let each answer."""
        for stream_id in list(self._answers):
            steps, data = self._answers.pop(stream_id)
            while True:
                data = self._send(stream_id, data)
                if data:
                    self._answers[stream_id] = (steps, data)
                    break
                try:
                    data = next(steps) or b""
                except StopIteration:
                    break

    def _send(self, stream_id: int, data: bytes) -> bytes:
        """What does not fit the windows."""
        while data:
            size = min(
                self._h2.local_flow_control_window(stream_id),
                self._h2.max_outbound_frame_size,
                len(data),
            )
            if size <= 0:
                break
            self._h2.send_data(stream_id, data[:size])
            data = data[size:]
        return data

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())

    def _end(self, stream_id: int) -> None:
        self._h2.send_headers(stream_id, TRAILERS, end_stream=True)

    def _plain(self, stream_id: int, message: bytes) -> Steps:
        self._h2.send_headers(stream_id, HEAD)
        yield message
        self._end(stream_id)

    def _goaway(self, stream_id: int, message: bytes) -> Steps:
        """The first call of all; the answer comes after it, because that call is below its id."""
        if self._record.calls == 1:
            self._flush()
            # Past h2, which ends the connection with it.
            self._transport.write(GoAwayFrame(last_stream_id=stream_id).serialize())
            self._goaway_sent = True
        return self._plain(stream_id, message)

    def _rst_after_header(self, stream_id: int, message: bytes) -> Steps:
        self._h2.send_headers(stream_id, HEAD)
        yield None
        self._h2.reset_stream(stream_id, NO_ERROR)

    def _rst_during_data(self, stream_id: int, message: bytes) -> Steps:
        self._h2.send_headers(stream_id, HEAD)
        yield message[: len(message) // 2]
        self._h2.reset_stream(stream_id, NO_ERROR)

    def _rst_after_data(self, stream_id: int, message: bytes) -> Steps:
        self._h2.send_headers(stream_id, HEAD)
        yield message
        self._h2.reset_stream(stream_id, NO_ERROR)

    def _ping(self, stream_id: int, message: bytes) -> Steps:
        self._send_ping()
        self._h2.send_headers(stream_id, HEAD)
        self._send_ping()
        yield message[: len(message) // 2]
        self._send_ping()
        yield message[len(message) // 2 :]
        self._send_ping()
        self._end(stream_id)

    def _send_ping(self) -> None:
        self._pings += 1
        self._h2.ping(self._pings.to_bytes(8, "big"))

    def _fault(self, text: str) -> None:
        self._record.faults.append(f"{self._record.case}: {text}")


class Http2Server:
    """A server of one case."""

    def __init__(self, case: str) -> None:
        self._record = Record(case)
        self._record.idle.set()
        self.port = 0

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Http2Server]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(Connection, self._record), host, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in list(self._record.connections):
                connection.close()
            await self._record.idle.wait()

    async def faults(self) -> list[str]:
        """What clients did wrong, when they are gone."""
        try:
            await asyncio.wait_for(self._record.idle.wait(), CLOSING_S)
        except TimeoutError:
            return [*self._record.faults, "the client keeps its connection after its calls"]
        wanted = {"goaway": 2, "max_streams": 11}.get(self._record.case, 1)
        if self._record.calls < wanted:
            return [*self._record.faults, f"{self._record.calls} calls came; {wanted} at least"]
        return self._record.faults


async def serve(case: str, host: str, port: int) -> list[str]:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with Http2Server(case).serving(host, port) as server:
        flags.announce(server.port)
        await over.wait()
        return await server.faults()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--test_case", choices=CASES, default=CASES[0])
    arguments = parser.parse_args()
    faults = asyncio.run(serve(arguments.test_case, arguments.host, arguments.port))
    sys.exit("\n".join(faults) or None)


if __name__ == "__main__":
    main()
