"""What a connection does by the clock, at either end: keepalive, and what a peer may not drag out.

All of it hangs on the one timer of the driver. Nothing here is on the way of a call: when a time
has come it is looked at what has happened meanwhile, and the timer set anew.
"""
import logging

from libc.stdint cimport uint32_t

from .driver cimport Driver

log = logging.getLogger("gyrfalcon.transport")

cdef bytes KEEPALIVE_PING = b"keepaliv"
cdef uint32_t ENHANCE_YOUR_CALM = 11

cdef extern from *:
    """
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    /* Linux: how long what was sent may go without an acknowledgement (gRFC A18). */
    static void gyr_set_user_timeout(int fd, unsigned int milliseconds) {
    #ifdef TCP_USER_TIMEOUT
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof(milliseconds));
    #endif
    }
    """
    void set_user_timeout "gyr_set_user_timeout" (int fd, unsigned int milliseconds)


cdef class Rules:
    """What connections of one server or channel keep to. Times are seconds; 0 switches off."""

    def __init__(self, *, double keepalive_interval=0, double keepalive_timeout=20,
                 bint keepalive_without_calls=False, double header_timeout=10,
                 double stall_timeout=60, double min_ping_interval=0,
                 bint permit_pings_without_calls=True, double max_age=0,
                 double max_age_grace=-1, double max_idle=0):
        self.keepalive_interval = keepalive_interval
        self.keepalive_timeout = keepalive_timeout
        self.keepalive_without_calls = keepalive_without_calls
        self.header_timeout = header_timeout
        self.stall_timeout = stall_timeout
        self.min_ping_interval = min_ping_interval
        self.permit_pings_without_calls = permit_pings_without_calls
        self.max_age = max_age
        self.max_age_grace = max_age_grace
        self.max_idle = max_idle


cdef Rules NO_RULES = Rules(header_timeout=0, stall_timeout=0)


cdef class KeptDriver(Driver):
    """A driver that looks after its connection."""

    def __init__(self, connection, loop, clock=None, Rules rules=None):
        Driver.__init__(self, connection, loop, clock)
        self.rules = NO_RULES if rules is None else rules

    # ------------------------------------------------------------------ the driver's hooks

    cdef int head_begins(self) except -1:
        if self.block_seen != self.connection.blocks_begun:
            self.block_seen = self.connection.blocks_begun
            if self.rules.header_timeout:
                self.set_due(HEADER, self.read_at + self.rules.header_timeout)
        return 0

    cdef int output_waits(self) except -1:
        if self.rules.stall_timeout:
            self.set_due(STALL, self.connection.find_stalled(
                self.clock.coarse(), self.rules.stall_timeout))
        return 0

    cdef int calls_begin(self) except -1:
        self.dormant = False
        return self.keep_alive(self.clock.now())

    cdef int time_came(self, int which, double now) except -1:
        if which == HEADER:
            if self.connection.header_stream != NULL:
                self.fail_header()
        elif which == STALL:
            self.due[<int> STALL] = self.connection.find_stalled(now, self.rules.stall_timeout)
        elif which == KEEPALIVE:
            self.keep_alive(now)
        elif which == CLOSING:
            self.connection.count_limit("close_timeout")
            self.abort()
        return 0

    cdef int fail_header(self) except -1:
        self.connection.count_limit("header_timeout")
        self.connection.give_up(
            ENHANCE_YOUR_CALM, b"header_timeout",
            f"a header block took longer than {self.rules.header_timeout:g} seconds "
            "(header_timeout)")
        return 0

    # ------------------------------------------------------------------ keepalive

    cdef int begin_keepalive(self) except -1:
        """The connection stands: look after it from now on."""
        cdef int descriptor
        if not self.rules.keepalive_interval:
            return 0
        found = self.transport.get_extra_info("socket")
        descriptor = -1 if found is None else found.fileno()
        if descriptor >= 0:
            # Not TCP: refused by the system, and of no use there.
            set_user_timeout(descriptor, <unsigned int> (self.rules.keepalive_timeout * 1000))
        return self.set_due(KEEPALIVE, self.read_at + self.rules.keepalive_interval)

    cdef int keep_alive(self, double now) except -1:
        """Look whether the peer was heard of: in time for its answer, or lately."""
        if self.ping_at:
            if self.read_at < self.ping_at and now - self.ping_at < self.rules.keepalive_timeout:
                return self.set_due(KEEPALIVE, min(
                    self.ping_at + self.rules.keepalive_timeout,
                    now + self.rules.keepalive_interval))
            if self.read_at < self.ping_at:
                # Where the process was held up, the answer may be here and not read.
                self.clock.call_once_read(self.loop, self._give_up_unless_answered)
                return 0
            self.ping_at = 0
        if now - self.read_at < self.rules.keepalive_interval:
            return self.set_due(KEEPALIVE, self.read_at + self.rules.keepalive_interval)
        if not (self.rules.keepalive_without_calls or self.connection.open_streams):
            self.dormant = True
            return 0
        return self.ask_peer(now)

    cdef int ask_peer(self, double now) except -1:
        # By the clock that `read_at` goes by: what is read from now on is not before it.
        self.ping_at = self.clock.coarse()
        self.keepalives_sent += 1
        self.connection.ping(KEEPALIVE_PING)
        self.changed()
        return self.set_due(
            KEEPALIVE, now + min(self.rules.keepalive_timeout, self.rules.keepalive_interval))

    def _give_up_unless_answered(self):
        """The answer to a PING is late, and what had come was read."""
        if self.lost or not self.ping_at:
            return
        if self.read_at >= self.ping_at:
            self.keep_alive(self.clock.now())
            return
        self.connection.count_limit("keepalive")
        self.connection.note_failure(
            f"no answer to a PING within {self.rules.keepalive_timeout:g} seconds (keepalive)")
        log.info("%r: dropped: %s", self, self.connection.failure)
        self.abort()
