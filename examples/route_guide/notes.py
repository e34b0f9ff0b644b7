"""The notes that RouteChat's callers share. No RPC in here."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Final

from .proto.route_guide_pb2 import Point, RouteNote

MAX_NOTES: Final = 100_000
"""Notes that are remembered."""

MAX_BYTES: Final = 64 * 2**20
"""Encoded size, in bytes, of the notes that are remembered."""


class NoteBoard:
    """Notes by point, the oldest forgotten when there are more than the limits allow.

    May be shared by event loops in several threads. The lock is held only while the board itself
    is read and changed, so that no caller can keep another one waiting.
    """

    def __init__(self, *, max_notes: int = MAX_NOTES, max_bytes: int = MAX_BYTES) -> None:
        self._max_notes = max_notes
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._at: dict[tuple[int, int], deque[RouteNote]] = {}
        self._arrivals: deque[RouteNote] = deque()
        self._bytes = 0

    def pin(self, note: RouteNote) -> tuple[RouteNote, ...]:
        """Adds a note; the notes at its point that were there before, in order of arrival."""
        with self._lock:
            there = self._at.setdefault(_key(note.location), deque())
            earlier = tuple(there)
            there.append(note)
            self._arrivals.append(note)
            self._bytes += note.ByteSize()
            while len(self._arrivals) > self._max_notes or self._bytes > self._max_bytes:
                self._forget_oldest()
        return earlier

    def _forget_oldest(self) -> None:
        oldest = self._arrivals.popleft()
        self._bytes -= oldest.ByteSize()
        # The oldest of all is the oldest at its point too.
        there = self._at[_key(oldest.location)]
        there.popleft()
        if not there:
            del self._at[_key(oldest.location)]


def _key(point: Point) -> tuple[int, int]:
    return point.latitude, point.longitude
