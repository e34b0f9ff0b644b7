"""What time it is, and what is to be called when.

The only place that reads a clock for channels and servers, or sets a timer for them.

A channel or a server asks its network's clock. `Clock` is the system's and the event loop's timers;
a `ManualClock` stands still until it is moved.
"""
import asyncio
import contextvars
import heapq
import threading
import time
from asyncio import events as asyncio_events

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, clockid_t, timespec

# uvloop's timers count in milliseconds and may fire that much early.
cdef double TIMER_GRAIN = 0.001
# What sums of seconds in binary may be off by: a timer of a manual clock fires that much early.
cdef double ROUNDING = 1e-9

cdef object get_running_loop = asyncio_events._get_running_loop


cdef double monotonic() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double> now.tv_sec + <double> now.tv_nsec * 1e-9


cdef extern from *:
    """
    #include <time.h>
    /* Linux: the same clock to some milliseconds, in 5 ns instead of 23 or more. */
    #ifdef CLOCK_MONOTONIC_COARSE
    #define GYR_COARSE CLOCK_MONOTONIC_COARSE
    #else
    #define GYR_COARSE CLOCK_MONOTONIC
    #endif
    """
    clockid_t COARSE "GYR_COARSE"


cdef double coarse_time() noexcept:
    """monotonic(), to a few milliseconds, never ahead of it."""
    cdef timespec now
    clock_gettime(COARSE, &now)
    return <double> now.tv_sec + <double> now.tv_nsec * 1e-9


cdef class Clock:
    """The system's monotonic clock, and the timers of event loops.

    Times are seconds. May be used from any thread; a callback is called by the loop that is given.
    """

    cdef double now(self) noexcept:
        return monotonic()

    cdef double coarse(self) noexcept:
        """now(), a few milliseconds behind at most, and four times cheaper: for figures, and for
        what is waited for by the second."""
        return coarse_time()

    cdef object wall_time(self, double moment):
        """A moment of this clock as time.time() has it; None for 0, which is never."""
        return time.time() - (self.now() - moment) if moment else None

    def time(self):
        """The present time, on time.monotonic()'s clock."""
        return self.now()

    def call_at(self, loop, double when, callback, *arguments):
        """Have `loop` call back when it is `when`; `cancel()` what is returned to undo that."""
        return loop.call_later(max(when - self.now(), TIMER_GRAIN), callback, *arguments)

    def call_later(self, loop, double delay, callback, *arguments):
        """Have `loop` call back in `delay` seconds; `cancel()` what is returned to undo that."""
        return loop.call_later(max(delay, 0.0), callback, *arguments)

    def call_once_read(self, loop, callback):
        """Have `loop` call back when it has read what is there to be read now."""
        # A loop looks at its sockets between two timers; uvloop at its timers first.
        return loop.call_later(TIMER_GRAIN, callback)

    async def sleep(self, double seconds):
        """Let so much time pass; what `asyncio.sleep` does, by this clock."""
        await asyncio.sleep(seconds)

    def __repr__(self):
        return f"<{type(self).__name__} at {self.now():.9g} s>"


cdef class ManualClock(Clock):
    """A clock that stands still until `advance` moves it.

    `start` is the time at first, in seconds, more than 0.
    """

    def __init__(self, double start=1000.0):
        if not 0 < start < 1e9:
            raise ValueError(f"{start=!r} must be seconds, more than 0 and less than 1e9")
        self.nanoseconds = <long long> round(start * 1e9)
        self.current = self.nanoseconds / 1e9
        self.timers = []
        self.lock = threading.Lock()

    cdef double now(self) noexcept:
        return self.current

    cdef double coarse(self) noexcept:
        return self.current

    def advance(self, double seconds):
        """Let so many seconds pass at once.

        What is due by then is called by its loop, in the order in which it was due, when the
        program next awaits; what that sets going begins at the new time. May be called from any
        thread. Raises ValueError for what is no time to pass.
        """
        if not 0 <= seconds < 1e9:
            raise ValueError(f"{seconds=!r} must be seconds, at least 0 and less than 1e9")
        due = []
        with self.lock:
            self.nanoseconds += <long long> round(seconds * 1e9)
            self.current = self.nanoseconds / 1e9
            while self.timers and (<Timer> self.timers[0]).when <= self.current + ROUNDING:
                due.append(heapq.heappop(self.timers))
        for timer in due:
            (<Timer> timer).fire()

    def call_at(self, loop, double when, callback, *arguments):
        """Have `loop` call back when it is `when`; `cancel()` what is returned to undo that."""
        cdef Timer timer = Timer.__new__(Timer)
        timer.when = when
        timer.loop = loop
        timer.callback = callback
        timer.arguments = arguments
        timer.context = contextvars.copy_context()
        with self.lock:
            waits = when > self.current
            if waits:
                while self.timers and (<Timer> self.timers[0]).callback is None:
                    heapq.heappop(self.timers)
                timer.order = self.count
                self.count += 1
                heapq.heappush(self.timers, timer)
        if not waits:
            timer.fire()
        return timer

    def call_later(self, loop, double delay, callback, *arguments):
        """Have `loop` call back in `delay` seconds; `cancel()` what is returned to undo that."""
        return self.call_at(loop, self.current + delay, callback, *arguments)

    async def sleep(self, double seconds):
        """Let so much time pass; what `asyncio.sleep` does, by this clock."""
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        timer = self.call_later(loop, seconds, wake, over)
        try:
            await over
        finally:
            timer.cancel()

    @property
    def next_timer(self):
        """When the first of the timers that were set is due; None: there is none."""
        with self.lock:
            return min((timer.when for timer in self.timers if timer.waiting), default=None)


cdef class Timer:
    """Something that a manual clock has a loop call."""
    cdef readonly double when
    cdef long long order
    cdef object loop
    cdef object callback
    cdef object arguments
    cdef object context

    def cancel(self):
        """Do not call any more."""
        self.callback = self.arguments = self.context = self.loop = None

    @property
    def waiting(self):
        """Whether it has neither been called nor cancelled."""
        return self.callback is not None

    cdef int fire(self) except -1:
        loop = self.loop
        if loop is None:
            return 0
        if loop is get_running_loop():
            loop.call_soon(self.call, context=self.context)
            return 0
        try:
            loop.call_soon_threadsafe(self.call, context=self.context)
        except RuntimeError:
            if not loop.is_closed():
                raise
        return 0

    def call(self):
        """Call what is to be called (its loop does this)."""
        callback, arguments = self.callback, self.arguments
        if callback is not None:
            self.cancel()
            callback(*arguments)

    def __lt__(self, Timer other):
        return (self.when, self.order) < (other.when, other.order)


def wake(over):
    """End a sleep."""
    if not over.done():
        over.set_result(None)


cdef Clock SYSTEM = Clock()
SYSTEM_CLOCK = SYSTEM
