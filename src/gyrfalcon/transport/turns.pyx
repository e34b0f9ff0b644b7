"""Turns of a loop, where a connection has work of a kind that takes long: messages to inflate.

4 KiB of a compressed message may be 4 MiB, which take 3 ms to inflate, and 20 ms at times. So
messages are inflated in parts, and a connection that has inflated its share rests until it is its
turn again: those that rest go on in order, two in a turn of the loop.
"""
import threading
import weakref

# Read are up to 256 KiB, in which a peer can put 50 ms of work (HPACK bombs).
cdef double TURN_SECONDS = 0.001
# Bytes inflated, in a turn: half a millisecond of zeros, the fastest that there are.
cdef size_t ALLOWANCE = 512 * 1024
# Of a message 256 KiB are inflated at a time.
cdef Py_ssize_t AT_ONCE = 2

_known = threading.local()


cdef Turns turns_of(loop):
    """That of a loop, in the loop's thread."""
    cdef Turns made
    try:
        known, made = _known.pair
        if known() is loop:
            return made
    except AttributeError:
        pass
    made = Turns(weakref.ref(loop))
    _known.pair = weakref.ref(loop), made
    return made


cdef class Turns:
    """Belongs to whoever runs the loop."""

    def __init__(self, loop):
        self.loop = loop
        self.share = ALLOWANCE
        self.resting = []
        self.begin_callback = self.begin

    cdef int rest(self, object driver) except -1:
        """This connection had its share; it is told when it has another."""
        if not self.resting:
            self.loop().call_soon(self.begin_callback)
        self.resting.append(driver)
        return 0

    def begin(self):
        """The loop has turned."""
        cdef list rested = self.resting[:AT_ONCE]
        self.resting = self.resting[AT_ONCE:]
        if self.resting:
            self.loop().call_soon(self.begin_callback)
        self.share = ALLOWANCE // <size_t> len(rested)
        for driver in rested:
            driver.begin_turn()
