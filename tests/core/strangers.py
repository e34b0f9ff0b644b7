"""hyper-h2 at the other end: a peer that shares no code with the core."""

from __future__ import annotations

from typing import TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event

from gyrfalcon._core.connection import Connection

E = TypeVar("E", bound=Event)


class Stranger:
    """An h2 connection joined to one of ours; it gives back every window at once."""

    def __init__(self, ours: Connection) -> None:
        self.ours = ours
        self.h2 = H2Connection(H2Configuration(client_side=ours.is_server, header_encoding=None))
        self.events: list[Event] = []
        self.h2.initiate_connection()

    def pump(self) -> None:
        """Carry bytes both ways until neither side has any."""
        while True:
            there, back = self.h2.data_to_send(), self.ours.take_output()
            if not there and not back:
                return
            self.ours.receive(there)
            if back:
                self.take(self.h2.receive_data(back))

    def take(self, events: list[Event]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id or 0
                )

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def body(self, stream_id: int) -> bytes:
        return b"".join(
            event.data or b"" for event in self.all(DataReceived) if event.stream_id == stream_id
        )

    def send(self, stream_id: int, data: bytes, *, pad: int | None = None) -> None:
        """Send all of it, padded where the windows have room for it."""
        while data:
            self.pump()
            room = self.h2.local_flow_control_window(stream_id)
            room = min(room, self.h2.max_outbound_frame_size)
            assert room >= 2, "the window stays shut"
            if pad is not None:
                pad = min(pad, room - 2)
                room -= pad + 1
            size = min(len(data), room)
            self.h2.send_data(stream_id, data[:size], pad_length=pad)
            data = data[size:]
        self.pump()
