"""A peer that sends the bytes it likes, by a plain socket, and notes what the other end says."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from hpack import Decoder

from tests.call.service import SAFETY_NET_S
from tests.core.wires import ACK, PREFACE, FrameType, frame, frames

# The peer takes nothing more for this long: it has stopped reading.
STUCK_S = 0.5
HEAD = 9


class Attacker:
    """One connection. With `reads=False` it leaves what comes in the socket until `finish()`."""

    def __init__(
        self, connection: socket.socket, *, reads: bool = True, preface: bytes = b""
    ) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reads = reads
        self._received = bytearray()
        self._preface = preface
        self._taken: list[tuple[FrameType, int, int, bytes]] = []
        self._decoder = Decoder()
        self._decoded = 0
        self._fields: dict[int, dict[bytes, bytes]] = {}
        self.gone = False
        self.cut_off = False
        """Whether the connection was reset: what the peer said last may be lost."""

    @classmethod
    def to(cls, port: int, *, reads: bool = True, settings: bytes = b"") -> Self:
        """A client that has said hello."""
        attacker = cls(socket.create_connection(("127.0.0.1", port)), reads=reads)
        attacker.send(
            PREFACE + frame(FrameType.SETTINGS, 0, 0, settings) + frame(FrameType.SETTINGS, ACK, 0)
        )
        return attacker

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> bool:
        """Take in what is there; False when there is nothing now."""
        try:
            data = self._socket.recv(262_144)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
            self.cut_off = True
        self._received += data
        self.gone = self.gone or not data
        return bool(data)

    def send(self, data: bytes) -> bool:
        """Send all of it; False when the peer has hung up, or takes no more."""
        view = memoryview(data)
        while view and not self.gone:
            readable, writable, _ = select.select(
                [self._socket] if self._reads else [], [self._socket], [], STUCK_S
            )
            if readable:
                self._read()
            elif not writable:
                return False
            if writable:
                try:
                    view = view[self._socket.send(view) :]
                except BlockingIOError:
                    pass
                except ConnectionError:
                    # What it said before is still there.
                    while self._read():
                        pass
                    self.gone = self.cut_off = True
        return not self.gone

    def send_all(self, chunks: Iterable[bytes]) -> bool:
        return all(self.send(chunk) for chunk in chunks)

    def wait(self, seconds: float = SAFETY_NET_S) -> bool:
        """Wait for more to come; False at the end, or when nothing came for so long."""
        if self.gone:
            return False
        ready, _, _ = select.select([self._socket], [], [], seconds)
        return bool(ready) and self._read()

    def finish(self) -> None:
        """Take in what the peer says until it hangs up."""
        while self.wait():
            pass
        assert self.gone, "the peer did not hang up"

    def round_trip(self, ping: bytes = b"roundtrp") -> None:
        """Wait until the peer has answered a PING: it lives, and has read what came before."""
        answer = (FrameType.PING, ACK, 0, ping)
        before = self.all_frames().count(answer)
        assert self.send(frame(FrameType.PING, 0, 0, ping)), "the peer has hung up"
        while self.all_frames().count(answer) == before:
            assert self.wait(), f"the peer has hung up: {self.goaway}"

    # ------------------------------------------------------------------ what came

    def _whole(self) -> Iterator[bytes]:
        while len(self._received) >= HEAD:
            end = HEAD + int.from_bytes(self._received[:3], "big")
            if len(self._received) < end:
                return
            yield bytes(self._received[:end])
            del self._received[:end]

    def all_frames(self) -> list[tuple[FrameType, int, int, bytes]]:
        """(type, flags, stream, payload) of every whole frame so far."""
        if self._preface and len(self._received) >= len(self._preface):
            assert self._received.startswith(self._preface)
            del self._received[: len(self._preface)]
            self._preface = b""
        if self._preface:
            return self._taken
        self._taken += [one for whole in self._whole() for one in frames(whole)]
        return self._taken

    @property
    def goaway(self) -> tuple[int, bytes] | None:
        """The error code and debug data of the last GOAWAY."""
        found = [payload for kind, _, _, payload in self.all_frames() if kind is FrameType.GOAWAY]
        return (int.from_bytes(found[-1][4:8], "big"), found[-1][8:]) if found else None

    @property
    def resets(self) -> dict[int, int]:
        """The error code with which each stream was reset."""
        return {
            stream_id: int.from_bytes(payload, "big")
            for kind, _, stream_id, payload in self.all_frames()
            if kind is FrameType.RST_STREAM
        }

    @property
    def fields(self) -> dict[int, dict[bytes, bytes]]:
        """The fields of the heads and trailers of each stream: every block is in one frame."""
        taken = self.all_frames()
        for kind, _, stream_id, payload in taken[self._decoded :]:
            if kind is FrameType.HEADERS:
                pairs = self._decoder.decode(payload, raw=True)
                self._fields.setdefault(stream_id, {}).update((one[0], one[1]) for one in pairs)
        self._decoded = len(taken)
        return self._fields

    @property
    def statuses(self) -> dict[int, bytes]:
        """The `grpc-status` of each stream that has one."""
        return {
            stream_id: fields[b"grpc-status"]
            for stream_id, fields in self.fields.items()
            if b"grpc-status" in fields
        }

    @property
    def received_data(self) -> int:
        """Bytes in DATA frames."""
        return sum(
            len(payload) for kind, _, _, payload in self.all_frames() if kind is FrameType.DATA
        )

    def forget(self) -> None:
        """Go on as if nothing had come so far."""
        self._fields = {}
        for kind, _, _, payload in self.all_frames()[self._decoded :]:
            if kind is FrameType.HEADERS:
                self._decoder.decode(payload, raw=True)
        self._taken.clear()
        self._decoded = 0

    def ended(self, stream_id: int) -> bool:
        """Whether the peer has ended a stream, in whichever way."""
        return any(
            number == stream_id
            and (
                kind is FrameType.RST_STREAM
                or (kind in (FrameType.DATA, FrameType.HEADERS) and flags & 1)
            )
            for kind, flags, number, _ in self.all_frames()
        )

    def wait_for(self, stream_id: int) -> None:
        """Wait until the peer has ended a stream."""
        while not self.ended(stream_id):
            assert self.wait(), f"the peer has hung up: {self.goaway}"


@contextmanager
def attacking(port: int, *, reads: bool = True, settings: bytes = b"") -> Iterator[Attacker]:
    attacker = Attacker.to(port, reads=reads, settings=settings)
    try:
        yield attacker
    finally:
        attacker.close()
