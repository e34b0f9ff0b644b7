"""What comes before libnghttp2 sees it: frames are counted by kind, and their heads looked at.

The library answers, ignores or stores a frame that costs the peer nine bytes, and it ends the whole
connection over some mistakes that are one stream's own. So a look at each frame's head: kinds of
frames that do no work may come only so often, and what concerns one stream alone is set aside for
`Connection` to decide. Nothing is decoded here.

A kind's tokens are used up without a look at any clock. Only when they are gone does `scan` stop;
whoever drives the connection then says what time it is, and `refill` adds what time and useful work
have earned since. So an honest peer costs a subtraction a frame.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from .nghttp2 cimport (
    NGHTTP2_CONTINUATION,
    NGHTTP2_DATA,
    NGHTTP2_FLAG_END_HEADERS,
    NGHTTP2_FLAG_END_STREAM,
    NGHTTP2_GOAWAY,
    NGHTTP2_HEADERS,
    NGHTTP2_PING,
    NGHTTP2_PRIORITY,
    NGHTTP2_PUSH_PROMISE,
    NGHTTP2_RST_STREAM,
    NGHTTP2_SETTINGS,
    NGHTTP2_WINDOW_UPDATE,
    nghttp2_session,
    nghttp2_session_get_stream_user_data,
)
from .stream cimport Stream

from ..rpc.limits import FRAME_RATES as _FRAME_RATES

# Tokens of each kind at once, and those that a second adds. RESETS costs four for a stream that
# nobody was told of: that is the rapid reset attack; a client that wants answers does it rarely.
cdef int64_t BURSTS[9]
cdef double A_SECOND[9]

# DATA frames up to this size can be nothing but padding.
cdef size_t SMALL_FRAME = 256
# A header block of max_header_bytes is one frame or two. One that is far over its limit is decoded
# all the same, for the sake of the other streams; not forever.
cdef uint32_t MAX_BLOCK_FRAMES = 128
cdef size_t MAX_BLOCK_BYTES = 1024 * 1024
cdef size_t MAX_BLOCK_SLACK = 64
cdef size_t FRAME_HEAD = 9
cdef size_t PREFACE = 24


cdef int set_up_buckets() except -1:
    for kind, limit in enumerate(_FRAME_RATES):
        BURSTS[kind] = limit.burst
        A_SECOND[kind] = limit.rate
    return 0

set_up_buckets()


cdef void set_up_gate(Gate *gate, bint is_server, size_t max_frame_size,
                      size_t max_header_bytes) noexcept:
    cdef int kind
    gate.is_server = is_server
    gate.max_frame_size = max_frame_size
    gate.max_block_bytes = max(MAX_BLOCK_BYTES, max_header_bytes * MAX_BLOCK_SLACK)
    gate.left = PREFACE if is_server else 0
    gate.overdrawn = -1
    for kind in range(KINDS):
        gate.buckets[kind].tokens = BURSTS[kind]


cdef size_t wanted(const uint8_t *frame, size_t length) noexcept:
    """How many bytes of a frame are needed to look at it; `length` of them are there."""
    if length < FRAME_HEAD or frame[0] or frame[1]:
        return FRAME_HEAD
    if frame[3] == NGHTTP2_WINDOW_UPDATE and frame[2] == 4:
        return FRAME_HEAD + 4
    if frame[3] == NGHTTP2_PRIORITY and frame[2] == 5:
        return FRAME_HEAD + 5
    return FRAME_HEAD


cdef uint32_t number_at(const uint8_t *data) noexcept:
    return ((<uint32_t> data[0] << 24) | (<uint32_t> data[1] << 16) | (<uint32_t> data[2] << 8)
            | data[3])


cdef inline bint take(Gate *gate, int kind) noexcept:
    """Use one token; False when there is none."""
    if gate.buckets[kind].tokens <= 0:
        gate.overdrawn = kind
        return False
    gate.buckets[kind].tokens -= 1
    return True


cdef inline uint64_t bit_of(uint32_t stream_id) noexcept:
    return <uint64_t> 1 << ((stream_id >> 1) & 63)


cdef bint has_ended(nghttp2_session *session, uint32_t stream_id) noexcept:
    """Whether a stream is over, or the peer's half of it."""
    cdef void *pointer = nghttp2_session_get_stream_user_data(session, <int> stream_id)
    return pointer == NULL or (<Stream> pointer).remote_ended


cdef bint is_headless(nghttp2_session *session, uint32_t stream_id) noexcept:
    cdef void *pointer = nghttp2_session_get_stream_user_data(session, <int> stream_id)
    return pointer != NULL and not (<Stream> pointer).head_received


cdef void begin_block(Gate *gate, size_t size) noexcept:
    gate.in_block = True
    gate.block_frames = 1
    gate.block_bytes = size


cdef Stop judge_headers(Gate *gate, nghttp2_session *session, size_t size, uint8_t flags,
                        uint32_t stream_id) noexcept:
    if size == 0 and not take(gate, EMPTY_FRAMES):
        return OVERDRAWN
    if gate.is_server:
        if stream_id > <uint32_t> gate.last_stream:
            gate.last_stream = <int> stream_id
        elif gate.ended & bit_of(stream_id) or has_ended(session, stream_id):
            return SUSPECT
        if flags & NGHTTP2_FLAG_END_STREAM:
            gate.ended |= bit_of(stream_id)
    else:
        gate.headed |= bit_of(stream_id)
    return ALL


cdef Stop judge_data(Gate *gate, nghttp2_session *session, size_t size, uint8_t flags,
                     uint32_t stream_id) noexcept:
    gate.data_frames += 1
    if size <= SMALL_FRAME:
        if size:
            if not take(gate, SMALL_FRAMES):
                return OVERDRAWN
        elif not flags & NGHTTP2_FLAG_END_STREAM and not take(gate, EMPTY_FRAMES):
            return OVERDRAWN
    elif size > gate.max_frame_size:
        return SUSPECT
    if gate.is_server:
        if gate.ended & bit_of(stream_id):
            return SUSPECT
        if stream_id <= <uint32_t> gate.passed and has_ended(session, stream_id):
            return SUSPECT
        if flags & NGHTTP2_FLAG_END_STREAM:
            gate.ended |= bit_of(stream_id)
    elif not gate.headed & bit_of(stream_id) and is_headless(session, stream_id):
        return SUSPECT
    return ALL


cdef Stop judge_priority(Gate *gate, const uint8_t *frame, size_t size,
                         uint32_t stream_id) noexcept:
    """RFC 9113 5.3.2: the signal is deprecated. Nothing here goes by it, and the library would
    keep streams that never come."""
    if not take(gate, PRIORITIES):
        return OVERDRAWN
    if stream_id == 0:
        return ALL
    if size != 5 or (number_at(frame + FRAME_HEAD) & 0x7fffffff) == stream_id:
        return SUSPECT
    return DROP


cdef Stop judge_window_update(Gate *gate, const uint8_t *frame, size_t size,
                              uint32_t stream_id) noexcept:
    if not take(gate, WINDOW_UPDATES):
        return OVERDRAWN
    if size == 4 and stream_id and (number_at(frame + FRAME_HEAD) & 0x7fffffff) == 0:
        return SUSPECT
    return ALL


cdef Stop judge(Gate *gate, nghttp2_session *session, const uint8_t *frame, size_t size) noexcept:
    """What to do with a frame of that many bytes of payload."""
    cdef uint8_t kind = frame[3]
    cdef uint8_t flags = frame[4]
    cdef uint32_t stream_id = number_at(frame + 5) & 0x7fffffff
    cdef Stop stop
    if gate.in_block:
        if size == 0 and not take(gate, EMPTY_FRAMES):
            return OVERDRAWN
        gate.block_frames += 1
        gate.block_bytes += size
        if gate.block_frames > MAX_BLOCK_FRAMES or gate.block_bytes > gate.max_block_bytes:
            return LONG_BLOCK
        gate.in_block = kind == NGHTTP2_CONTINUATION and not flags & NGHTTP2_FLAG_END_HEADERS
        return ALL
    if kind == NGHTTP2_DATA:
        return judge_data(gate, session, size, flags, stream_id)
    if kind == NGHTTP2_HEADERS:
        stop = judge_headers(gate, session, size, flags, stream_id)
        if stop == ALL and not flags & NGHTTP2_FLAG_END_HEADERS:
            begin_block(gate, size)
        return stop
    if kind == NGHTTP2_WINDOW_UPDATE:
        return judge_window_update(gate, frame, size, stream_id)
    if kind == NGHTTP2_RST_STREAM:
        if not take(gate, RESETS):
            return OVERDRAWN
        gate.ended |= bit_of(stream_id)
        return ALL
    if kind == NGHTTP2_PING:
        return ALL if take(gate, PINGS) else OVERDRAWN
    if kind == NGHTTP2_PRIORITY:
        return judge_priority(gate, frame, size, stream_id)
    if kind == NGHTTP2_SETTINGS or kind == NGHTTP2_GOAWAY or kind == NGHTTP2_PUSH_PROMISE:
        return ALL if take(gate, SETTINGS) else OVERDRAWN
    return ALL if take(gate, PRIORITIES) else OVERDRAWN


cdef Stop scan(Gate *gate, nghttp2_session *session, const uint8_t *data, size_t length,
               size_t *run) noexcept:
    """Look at the frames in `data`: the first `run` bytes of it may be passed on as they are."""
    cdef size_t at = 0
    cdef size_t size
    cdef Stop stop
    while True:
        if gate.left:
            if gate.left >= length - at:
                gate.left -= length - at
                at = length
                stop = ALL
                break
            at += gate.left
            gate.left = 0
        if at == length:
            stop = ALL
            break
        if gate.chopped:
            stop = SUSPECT
            break
        if length - at < FRAME_HEAD or length - at < wanted(data + at, length - at):
            stop = PARTIAL
            break
        size = number_at(data + at) >> 8
        stop = judge(gate, session, data + at, size)
        if stop != ALL:
            break
        at += FRAME_HEAD
        gate.left = size
    run[0] = at
    return stop


cdef void refill(Gate *gate, double now, uint64_t *earned) noexcept:
    """Add what the time since the last call and `earned`, for each kind, give."""
    cdef int kind
    cdef double seconds = max(now - gate.time, 0.0)
    cdef double tokens
    gate.time = now
    for kind in range(KINDS):
        tokens = <double> gate.buckets[kind].tokens + seconds * A_SECOND[kind]
        # A client takes back what it counted when a stream was never sent.
        tokens += <double> <int64_t> (earned[kind] - gate.buckets[kind].earned)
        gate.buckets[kind].earned = earned[kind]
        gate.buckets[kind].tokens = <int64_t> min(tokens, <double> BURSTS[kind])


cdef bint is_overdrawn(Gate *gate) noexcept:
    """Whether the tokens of a kind that is not counted by `scan` are gone."""
    if gate.buckets[PROVOKED_RESETS].tokens <= 0:
        gate.overdrawn = PROVOKED_RESETS
    elif gate.buckets[REFUSED_STREAMS].tokens <= 0:
        gate.overdrawn = REFUSED_STREAMS
    elif gate.buckets[EMPTY_FRAMES].tokens <= 0:
        gate.overdrawn = EMPTY_FRAMES
    return gate.overdrawn >= 0
