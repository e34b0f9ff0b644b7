from .driver cimport Driver


# What a driver's `due` holds the times of.
cdef enum Due:
    HANDSHAKE = 0
    HEADER = 1      # a header block has to be whole
    STALL = 2       # to look for streams whose output waits
    KEEPALIVE = 3   # to ask whether the peer is there, or to have its answer
    IDLE = 4
    AGE = 5         # the connection is too old; then its grace is over
    DRAIN = 6       # the peer's answer to the PING between two GOAWAYs
    CLOSING = 7     # the peer has to have taken the last bytes


cdef class Rules:
    cdef readonly double keepalive_interval     # seconds, as all that follow; 0: off
    cdef readonly double keepalive_timeout
    cdef readonly bint keepalive_without_calls
    cdef readonly double header_timeout
    cdef readonly double stall_timeout
    cdef readonly double min_ping_interval
    cdef readonly bint permit_pings_without_calls
    cdef readonly double max_age
    cdef readonly double max_age_grace          # below 0: as long as its calls take
    cdef readonly double max_idle


cdef class KeptDriver(Driver):
    cdef readonly Rules rules
    cdef double ping_at             # when the PING of keepalive was sent whose answer is awaited
    cdef unsigned int block_seen

    cdef int begin_keepalive(self) except -1
    cdef int ask_peer(self, double now) except -1
    cdef int keep_alive(self, double now) except -1
    cdef int fail_header(self) except -1
