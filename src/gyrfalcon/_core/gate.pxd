from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from .nghttp2 cimport nghttp2_session

# What a peer may do only so often; each kind has a bucket of tokens.
cdef enum:
    RESETS              # RST_STREAM from the peer
    PROVOKED_RESETS     # RST_STREAM that its mistakes make us send
    REFUSED_STREAMS     # streams over max_concurrent_streams
    PINGS
    SETTINGS            # and GOAWAY
    PRIORITIES          # and frames of unknown types
    WINDOW_UPDATES
    EMPTY_FRAMES        # DATA, HEADERS, CONTINUATION with nothing in them
    SMALL_FRAMES        # of DATA
    KINDS

# Why `scan` stopped.
cdef enum Stop:
    ALL = 0             # everything was looked at
    PARTIAL             # what is left is the beginning of a frame that is needed whole
    OVERDRAWN           # the tokens of `Gate.overdrawn` are used up
    DROP                # the frame that follows is of no use
    SUSPECT             # the frame that follows may be a mistake on one stream
    LONG_BLOCK          # the header block is in too many frames, or has too many bytes

cdef enum:
    LARGEST_HELD = 14   # a PRIORITY frame

cdef struct Bucket:
    int64_t tokens
    uint64_t earned     # of what gives tokens back: how much was counted already

cdef struct Gate:
    bint is_server
    size_t max_frame_size
    size_t max_block_bytes
    size_t left                     # bytes of the frame's payload that are still to come
    size_t dropping                 # bytes of a frame that are still to be left out
    size_t chopped                  # bytes of an oversized DATA frame behind `left`
    uint8_t chopped_head[9]
    bint in_block                   # CONTINUATION must follow
    uint32_t block_frames
    size_t block_bytes
    int32_t last_stream             # server: the newest stream
    int32_t passed                  # server: the newest that the library knows of
    uint64_t ended                  # a filter of streams that ended in what was not passed on yet
    uint64_t headed                 # client: the same, of streams with a head in it
    uint64_t data_frames            # DATA frames that came
    int overdrawn                   # a kind, or -1
    double time                     # of the last refill
    Bucket buckets[9]
    uint8_t held[LARGEST_HELD]
    size_t held_length


cdef void set_up_gate(Gate *gate, bint is_server, size_t max_frame_size,
                      size_t max_header_bytes) noexcept
cdef void begin_block(Gate *gate, size_t size) noexcept
cdef uint32_t number_at(const uint8_t *data) noexcept
cdef size_t wanted(const uint8_t *frame, size_t length) noexcept
cdef Stop scan(Gate *gate, nghttp2_session *session, const uint8_t *data, size_t length,
               size_t *run) noexcept
cdef void refill(Gate *gate, double now, uint64_t *earned) noexcept
cdef bint is_overdrawn(Gate *gate) noexcept
