"""Looking again before going to sleep, where the next bytes come sooner than sleep is worth.

Putting a thread to sleep and waking it up costs more than it looks: the processor halts, and on a
virtual machine that goes through its host. Two processes that answer each other over loopback at
once, one message at a time, took 94 µs an exchange asleep and 27 µs awake (2 virtual processors,
2026-11), and 36 µs of processor time against 13.5. So after a small read a loop polls without
sleeping for up to `LINGER` seconds, as long as that pays: nearly every time. Where it does not, it
sleeps at once for the next waits, up to `LONGEST_PAUSE` of them, before it is tried again; so a
connection whose peer takes its time costs nothing worth counting.
"""
import os

from .clock cimport monotonic

from .loops import OfLoop

cdef double LINGER = 100e-6
cdef double MOST = 1e-3
# In waits: misses must be fewer than one in four, or it ends up at the longest.
cdef int FIRST_PAUSE = 8
cdef int LONGEST_PAUSE = 256

_known = OfLoop()


def set_linger(text):
    """Take the environment's GYRFALCON_LINGER: microseconds, 0 for never. Raises ValueError."""
    global LINGER
    try:
        seconds = float(text) * 1e-6
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST:
        raise ValueError(
            f"GYRFALCON_LINGER={text!r} in the environment is no number of microseconds from 0 to "
            f"{MOST * 1e6:.0f}; 0 lets loops sleep at once")
    LINGER = seconds


if "GYRFALCON_LINGER" in os.environ:
    set_linger(os.environ["GYRFALCON_LINGER"])


cdef Lingering lingering_of(loop):
    """That of a loop, in the loop's thread."""
    return _known.get(loop, Lingering)


cdef class Lingering:
    """Whether a loop lingers; belongs to whoever runs the loop."""

    def __cinit__(self):
        self.turn_callback = self.turn

    cdef bint worthwhile(self) noexcept:
        """Whether to linger this time; asked once a wait."""
        if self.left == 0:
            return LINGER > 0
        self.left -= 1
        return False

    cdef void paid(self) noexcept:
        self.pause //= 2

    cdef void wasted(self) noexcept:
        self.pause = min(max(self.pause * FIRST_PAUSE, FIRST_PAUSE), LONGEST_PAUSE)
        self.left = self.pause

    # For loops that are somebody else's: they are kept turning.

    cpdef int note_read(self, loop) except -1:
        """Bytes came; more may come soon."""
        if self.loop is not None:
            self.came = True
        elif self.worthwhile():
            self.loop = loop
            self.until = monotonic() + LINGER
            loop.call_soon(self.turn_callback)
        return 0

    def turn(self):
        """One more turn of the loop, without sleep."""
        cdef double now = monotonic()
        if self.came:
            self.came = False
            self.paid()
            if not self.worthwhile():
                self.loop = None
                return
            self.until = now + LINGER
        elif now >= self.until:
            self.loop = None
            self.wasted()
            return
        self.loop.call_soon(self.turn_callback)
