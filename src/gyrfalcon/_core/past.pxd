# What a server remembers of the stream ids that a peer has behind it, so that a frame for a stream
# that is over can be told from a harmless latecomer (RFC 9113 5.1, 5.1.1). libnghttp2 remembers
# streams themselves, or nothing.
#
# A peer that has ended a stream, by END_STREAM or RST_STREAM, has nothing more to send on it. The
# last of these are known. A stream that this end has reset is not among them unless its peer had
# done with it: frames may be on their way, and are no mistake. Older streams are given the benefit
# of the doubt.
from libc.stdint cimport int32_t

cdef enum:
    ENDED = 64          # streams that are remembered
    GAPS = 16           # runs of ids that were left out

cdef enum Verdict:
    NO_MATTER           # nothing is known against it
    AFTER_RESET         # the peer has reset that stream
    AFTER_END           # the peer has half-closed it, and it is closed
    LEFT_OUT            # the peer never used that id, and went on to higher ones

cdef struct Past:
    int32_t newest              # the highest id that the peer has used
    int32_t ended[ENDED]        # a ring; negative for those that were reset
    unsigned int ended_at
    int32_t gaps[2 * GAPS]      # a ring of first and last ids
    unsigned int gaps_at


cdef inline void note_opened(Past *past, int32_t stream_id) noexcept:
    """The peer has opened a stream."""
    cdef unsigned int at
    if stream_id > past.newest + 2:
        at = 2 * (past.gaps_at % GAPS)
        past.gaps[at] = past.newest + 1
        past.gaps[at + 1] = stream_id - 1
        past.gaps_at += 1
    if stream_id > past.newest:
        past.newest = stream_id


cdef inline void note_ended(Past *past, int32_t stream_id, bint reset) noexcept:
    """A stream is closed that the peer has ended."""
    past.ended[past.ended_at % ENDED] = -stream_id if reset else stream_id
    past.ended_at += 1


cdef inline Verdict judge_late(Past *past, int32_t stream_id) noexcept:
    """What a DATA or HEADERS frame means on a stream that is not open, and not newer than all.

    Says it once: who has been told is not told again.
    """
    cdef int at
    cdef bint reset
    for at in range(ENDED):
        if past.ended[at] == stream_id or past.ended[at] == -stream_id:
            reset = past.ended[at] < 0
            past.ended[at] = 0
            return AFTER_RESET if reset else AFTER_END
    for at in range(GAPS):
        if past.gaps[2 * at] <= stream_id <= past.gaps[2 * at + 1]:
            return LEFT_OUT
    return NO_MATTER
