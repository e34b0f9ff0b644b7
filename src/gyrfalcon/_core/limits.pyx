"""Counters of the limits that were met on a connection."""
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc

from .stream cimport Link

from ..rpc.limits import LIMITS, named

cdef int COUNT = len(LIMITS)


cdef void count_limit(Link *link, int number) noexcept:
    """One more time (with the GIL)."""
    if link.limits_met == NULL:
        link.limits_met = <uint32_t *> calloc(COUNT, sizeof(uint32_t))
        if link.limits_met == NULL:
            return      # out of memory: the figure is the least of it
    link.limits_met[number] += 1


cdef object limit_counts(Link *link):
    """What was counted, by name."""
    if link.limits_met == NULL:
        return {}
    return named([link.limits_met[number] for number in range(COUNT)])
