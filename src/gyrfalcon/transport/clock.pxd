cdef double monotonic() noexcept nogil
cdef double coarse_time() noexcept
cdef object wall_time(double moment)

cdef class Clock:
    cdef double now(self) noexcept

cdef class ManualClock(Clock):
    cdef double current             # seconds
    cdef long long nanoseconds      # the same, exactly
    cdef list timers                # a heap
    cdef long long count
    cdef object lock

cdef Clock SYSTEM
