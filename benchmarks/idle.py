"""A neutral client that opens many connections or streams and leaves them idle.

It says ``warm`` after the first few, waits for a line on standard input, opens the rest, says how
many these were, and stays until standard input ends.
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
)

from benchmarks import payloads

CONNECTIONS_FOR_STREAMS = 125
"""So that 10,000 streams stay below the 100 a connection that h2's servers allow."""
WARM_CONNECTIONS = 20
WARM_STREAMS = 10
"""on each connection; what the first calls allocate once is not the cost of a stream"""


class Connection:
    """One connection, past its handshake."""

    def __init__(self, port: int) -> None:
        self.authority = f"127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.wait(SettingsAcknowledged)

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def request(self, method: str, body: bytes, *, end: bool) -> int:
        """Send a request; returns the stream's id."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", f"/gyrfalcon.bench.Bench/{method}"),
                (":authority", self.authority),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("user-agent", "idle/1"),
            ],
        )
        self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def wait(self, kind: type[Event]) -> Event:
        """Read until an event of this kind comes."""
        while True:
            data = self.socket.recv(2**16)
            events = self.h2.receive_data(data) if data else [ConnectionTerminated()]
            self.flush()
            for event in events:
                if isinstance(event, ConnectionTerminated) or (
                    isinstance(event, StreamReset) and event.error_code
                ):
                    raise ConnectionError(f"the server ended it: {event!r}")
                if isinstance(event, DataReceived):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    self.flush()
            if found := [event for event in events if isinstance(event, kind)]:
                return found[-1]

    def call(self) -> None:
        """One unary call, so that the connection has served something."""
        self.request("Buy", payloads.framed(payloads.ORDER), end=True)
        self.wait(StreamEnded)

    def open_stream(self) -> None:
        """A call whose handler has answered one message and waits for the next."""
        chunk = payloads.framed(payloads.chunk(1))
        self.request("Chat", chunk, end=False)
        answer = self.wait(DataReceived)
        assert isinstance(answer, DataReceived)
        if struct.unpack_from(">BI", answer.data) != (0, len(chunk) - 5):
            raise ConnectionError(f"the server answered {answer.data!r}")


def open_connections(port: int, count: int) -> list[Connection]:
    connections = []
    for _ in range(count):
        connections.append(Connection(port))
        connections[-1].call()
    return connections


def say(word: object) -> None:
    print(word, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("connections", "streams"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    if options.kind == "connections":
        kept = open_connections(options.port, WARM_CONNECTIONS)
        say("warm")
        sys.stdin.readline()
        kept += open_connections(options.port, options.count)
        say(options.count)
    else:
        kept = open_connections(options.port, CONNECTIONS_FOR_STREAMS)
        open_streams(kept, WARM_STREAMS)
        say("warm")
        sys.stdin.readline()
        each = options.count // CONNECTIONS_FOR_STREAMS - WARM_STREAMS
        open_streams(kept, each)
        say(each * CONNECTIONS_FOR_STREAMS)
    sys.stdin.read()


def open_streams(connections: list[Connection], each: int) -> None:
    for connection in connections:
        for _ in range(each):
            connection.open_stream()


if __name__ == "__main__":
    main()
