cdef double monotonic() noexcept nogil
cdef double coarse_time() noexcept

cdef class Clock:
    cdef double now(self) noexcept
    cdef double coarse(self) noexcept
    cdef object wall_time(self, double moment)

cdef class ManualClock(Clock):
    cdef double current             # seconds
    cdef long long nanoseconds      # the same, exactly
    cdef list timers                # a heap
    cdef long long count
    cdef object lock

cdef Clock SYSTEM
