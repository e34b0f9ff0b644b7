"""Turns of a loop, where a connection has work of a kind that takes long: messages to inflate.

4 KiB of a compressed message may be 4 MiB, which take 3 ms to inflate, and 20 ms at times. So
messages are inflated in parts, and a connection that has inflated one rests until it is its turn
again: those that rest go on in order, one in a turn of the loop.
"""
from collections import deque

from .loops import OfLoop

# Read are up to 256 KiB, in which a peer can put 50 ms of work (HPACK bombs).
cdef double TURN_SECONDS = 0.0005
# Bytes inflated in a turn, a part of a message: half a millisecond. A call of somebody else takes
# three turns on Python 3.11: the one that runs, that of its read and that of its handler.
cdef size_t SHARE = 256 * 1024

_known = OfLoop()


cdef Turns turns_of(loop):
    """That of a loop, in the loop's thread."""
    return _known.get(loop, Turns)


cdef class Turns:
    """Belongs to whoever runs the loop."""

    def __cinit__(self):
        self.resting = deque()

    cdef int rest(self, object driver) except -1:
        """This connection had its share; it is told when it has another."""
        if not self.resting:
            driver.loop.call_soon(self.begin)
        self.resting.append(driver)
        return 0

    def begin(self):
        """The loop has turned."""
        driver = self.resting.popleft()
        if self.resting:
            driver.loop.call_soon(self.begin)
        driver.begin_turn()
