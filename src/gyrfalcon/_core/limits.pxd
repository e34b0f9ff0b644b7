from libc.stdint cimport uint32_t

from .stream cimport Link

# How often the limits of rpc/limits.py were met on one connection. Call sites look the number up
# once: `cdef int MAX_RECEIVE_BYTES = number_of("max_receive_bytes")`, and count with
# `count_limit(link, MAX_RECEIVE_BYTES)`. Most connections meet none and have no counters.

cdef void count_limit(Link *link, int number) noexcept
cdef object limit_counts(Link *link)
