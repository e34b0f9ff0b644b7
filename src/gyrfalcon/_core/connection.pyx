"""One HTTP/2 connection, client or server, without IO: bytes in, stream events out, bytes out.

The engine is libnghttp2. Its callbacks only collect; what they collected is taken after
`receive()` has returned. Nothing here blocks, calls the application, or looks at a clock.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

cimport cython

from .fields cimport Fields, HeaderBlock
from .gate cimport (
    DROP,
    EMPTY_FRAMES,
    LONG_BLOCK,
    OVERDRAWN,
    PARTIAL,
    PROVOKED_RESETS,
    REFUSED_STREAMS,
    RESETS,
    SUSPECT,
    Gate,
    Stop,
    begin_block,
    is_overdrawn as lacks_tokens,
    number_at,
    refill,
    scan,
    set_up_gate,
    wanted,
)
from .limits cimport count_limit, limit_counts
from .nghttp2 cimport *
from .past cimport (
    AFTER_END,
    AFTER_RESET,
    LEFT_OUT,
    Verdict,
    judge_late,
    note_ended,
    note_opened,
)
from .stream cimport DEADLINE, HEAD, STALLED, UNSENT, WRITABLE, Link, Stream, read_data

from ..rpc.limits import FRAME_RATES as _FRAME_RATES, number_of

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t newsize) except -1
    PyObject *PyBytes_New "PyBytes_FromStringAndSize" (const char *v, Py_ssize_t n) except NULL

# Output up to this size is gathered in a buffer that the connection keeps, and copied once; more
# than that is put into the bytes object that is handed out.
cdef size_t SMALL_OUTPUT = 4 * 1024
cdef size_t LARGE_OUTPUT = 64 * 1024
# A block this many times over the limit is not decoded to its end for the sake of a good answer.
cdef int HEADER_SLACK = 8
cdef int64_t LOST = -2
cdef double NEVER = 1e300
cdef Py_ssize_t MOST_DEBUG_DATA = 1024
cdef int NO_ROOM = 8       # the gRPC status of a message that is given up: RESOURCE_EXHAUSTED
cdef int MAX_CONCURRENT_STREAMS = number_of("max_concurrent_streams")
cdef int MAX_METADATA_BYTES = number_of("max_metadata_bytes")
cdef int STALL_TIMEOUT = number_of("stall_timeout")
cdef int MAX_UNREAD_BYTES = number_of("max_unread_bytes")
cdef int32_t LARGEST_FRAME = 64 * 1024
# Frames that wait to be sent, beside four for each open stream: a peer that makes us answer and
# reads nothing is hung up on. Each takes some 400 bytes in libnghttp2 until it is sent.
cdef Py_ssize_t UNSENT_FRAMES = 4096
# What is sent ahead of its turn, so that libnghttp2 forgets a stream.
cdef size_t EARLY_OUTPUT = 64 * 1024
cdef size_t FRAME_HEAD = 9
cdef size_t CHOPPED_FRAME = 16 * 1024
# A DATA frame of at least this size, or the last of what waits, was not cut short by a window.
cdef size_t FULL_FRAME = 1024
cdef uint32_t MANY_STREAMS = 0x7fffffff
# The value in the first entry of a SETTINGS frame (RFC 9113 6.5.1): behind frame head, identifier.
cdef size_t FIRST_VALUE = 9 + 2
cdef size_t GOAWAY_SIZE = 8         # without debug data

cdef nghttp2_session_callbacks *CALLBACKS = NULL
cdef nghttp2_option *OPTIONS = NULL


cdef Stream stream_of(nghttp2_session *session, int32_t stream_id):
    cdef void *pointer = nghttp2_session_get_stream_user_data(session, stream_id)
    return None if pointer == NULL else <Stream> pointer


cdef int keep_error(Connection connection, error) noexcept:
    connection.callback_error = error
    return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame,
                          void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef Stream stream
    connection.blocks_begun += 1
    try:
        if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            note_opened(&connection.past, frame.hd.stream_id)
            if (connection.open_streams >= <Py_ssize_t> connection.max_concurrent_streams
                    or connection.goaway_last >= 0):
                return connection.refuse(frame.hd.stream_id)
            stream = Stream.__new__(Stream)
            stream.id = frame.hd.stream_id
            stream.is_server = True
            stream.max_receive_bytes = connection.max_receive_bytes
            stream.head = HeaderBlock.__new__(HeaderBlock)
            connection.link_stream(stream)
            nghttp2_session_set_stream_user_data(session, stream.id, <void *> stream)
            connection.header_stream = <PyObject *> stream
            return 0
        connection.header_stream = NULL
        stream = stream_of(session, frame.hd.stream_id)
        if stream is None:
            return 0
        connection.header_stream = <PyObject *> stream
        if connection.is_server:
            # Trailers from a client: gRPC has none; they are counted and dropped.
            stream.trailers = HeaderBlock.__new__(HeaderBlock)
        elif stream.head_received:
            stream.trailers = HeaderBlock.__new__(HeaderBlock)
        else:
            # An informational head (1xx) makes place for the one that follows it.
            stream.head = HeaderBlock.__new__(HeaderBlock)
            stream.oversized_head = False
        return 0
    except BaseException as error:
        return keep_error(connection, error)


cdef int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                   nghttp2_rcbuf *value, uint8_t flags, void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef Stream stream
    cdef HeaderBlock block
    if connection.header_stream == NULL:
        return 0
    stream = <Stream> connection.header_stream
    block = stream.head if stream.trailers is None else stream.trailers
    try:
        block.size += (nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len + 32)
        if block.size > connection.max_header_bytes:
            if not stream.oversized_head:
                stream.oversized_head = True
                count_limit(&connection.link, MAX_METADATA_BYTES)
            if block.size > connection.max_header_bytes * HEADER_SLACK:
                connection.header_stream = NULL
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
            return 0
        block.append(name, value)
        return 0
    except BaseException as error:
        return keep_error(connection, error)


cdef bint is_informational(HeaderBlock head) noexcept:
    cdef nghttp2_vec status
    if head.count == 0:
        return False
    status = nghttp2_rcbuf_get_buf(head.items[0].value)
    return status.len == 3 and status.base[0] == c"1"


cdef bint is_foreign(HeaderBlock head) noexcept:
    """Whether a response is no gRPC: another status than 200, or another content-type."""
    cdef nghttp2_vec value
    cdef Py_ssize_t index = head.find(b"content-type", 12)
    if index >= 0:
        value = head.value_view(index)
        return value.len < 16 or memcmp(value.base, b"application/grpc", 16) != 0
    if head.count == 0:
        return False  # over max_header_bytes from the first field on
    value = head.value_view(0)
    return value.len != 3 or memcmp(value.base, b"200", 3) != 0


cdef int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                       const uint8_t *data, size_t length, void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef void *pointer = nghttp2_session_get_stream_user_data(session, stream_id)
    if pointer == NULL:
        connection.link.received += length
        return 0
    try:
        (<Stream> pointer).receive_data(data, length)
        while connection.link.unfinished > connection.link.unread_limit:
            connection.give_up_newest()
        return 0
    except BaseException as error:
        return keep_error(connection, error)


cdef int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef void *pointer
    cdef Stream stream
    try:
        if frame.hd.type == NGHTTP2_HEADERS:
            connection.header_stream = NULL     # its block is whole
        if frame.hd.type == NGHTTP2_DATA or frame.hd.type == NGHTTP2_HEADERS:
            pointer = nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
            if pointer == NULL:
                return 0
            stream = <Stream> pointer
            if frame.hd.type == NGHTTP2_HEADERS and not stream.head_received:
                if not connection.is_server and is_informational(stream.head):
                    connection.gate.buckets[EMPTY_FRAMES].tokens -= 1
                else:
                    stream.head_received = True
                    stream.trailers_only = bool(frame.hd.flags & NGHTTP2_FLAG_END_STREAM)
                    if not connection.is_server and is_foreign(stream.head):
                        # A proxy's error page, say: no messages to look for in its body.
                        stream.foreign = True
                        stream.discarding = True
                    stream.signal(HEAD)
            if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
                stream.receive_end()
        elif frame.hd.type == NGHTTP2_RST_STREAM:
            pointer = nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
            if pointer != NULL:
                (<Stream> pointer).peer_reset = True
            else:
                note_ended(&connection.past, frame.hd.stream_id, True)
            if pointer != NULL and (<Stream> pointer).events & HEAD:
                # Nobody was told of it yet (_core/gate.pyx).
                connection.gate.buckets[RESETS].tokens -= 3
        elif frame.hd.type == NGHTTP2_SETTINGS:
            if not frame.hd.flags & NGHTTP2_FLAG_ACK:
                connection.settings_received = True
        elif frame.hd.type == NGHTTP2_GOAWAY:
            connection.goaway_received = True
            connection.give_up_unsent()
            connection.goaway_code = frame.goaway.error_code
            connection.goaway_data = PyBytes_FromStringAndSize(
                <char *> frame.goaway.opaque_data, <Py_ssize_t> frame.goaway.opaque_data_len)
        elif frame.hd.type == NGHTTP2_PING:
            if not frame.hd.flags & NGHTTP2_FLAG_ACK:
                connection.pings_received += 1
                return 0
            connection.pings_acknowledged += 1
            if connection.sampling and memcmp(frame.ping.opaque_data, SAMPLE, 8) == 0:
                connection.end_sample()
            if (connection.drain_ping is not None
                    and (<char *> frame.ping.opaque_data)[:8] == connection.drain_ping):
                connection.drain_ready = True
        return 0
    except BaseException as error:
        return keep_error(connection, error)


cdef int on_bad_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
                      void *user_data) noexcept:
    if frame.hd.type == NGHTTP2_HEADERS:
        (<Connection> user_data).header_stream = NULL   # nothing more of its block is shown
    return 0


cdef int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame,
                       void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef Stream stream
    if (frame.hd.type == NGHTTP2_GOAWAY and frame.goaway.error_code != 0
            and frame.goaway.error_code != connection.own_goaway_code
            and connection.failure is None):
        try:
            connection.failure = ((<char *> frame.goaway.opaque_data)[:frame.goaway.opaque_data_len]
                                  .decode("ascii", "backslashreplace") or connection.library_message
                                  or nghttp2_http2_strerror(frame.goaway.error_code).decode())
        except BaseException as error:
            return keep_error(connection, error)
    if frame.hd.type == NGHTTP2_GOAWAY and connection.drain_ping is not None:
        # Only now: the library lets a PING overtake what was submitted before it.
        nghttp2_submit_ping(session, 0, <const uint8_t *> <char *> connection.drain_ping)
    if frame.hd.type == NGHTTP2_RST_STREAM:
        if frame.rst_stream.error_code == NGHTTP2_REFUSED_STREAM:
            connection.refusals_waiting -= connection.refusals_waiting > 0
        elif (frame.rst_stream.error_code != NGHTTP2_NO_ERROR
                and frame.rst_stream.error_code != NGHTTP2_CANCEL):
            connection.gate.buckets[PROVOKED_RESETS].tokens -= 1
    elif (frame.hd.type == NGHTTP2_GOAWAY and connection.failure is not None
            and frame.goaway.error_code != 0):
        connection.hung_up = True
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA:
        return 0
    connection.answered = True
    if (frame.hd.flags & NGHTTP2_FLAG_END_STREAM if connection.is_server
            else frame.hd.type == NGHTTP2_HEADERS):
        stream = stream_of(session, frame.hd.stream_id)
        if stream is None:
            return 0
        stream.head_sent = True
        if (connection.is_server and not stream.remote_ended
                and (not stream.lingers or connection.draining)):
            # RFC 9113 8.1: the answer is complete, the rest of the request is not wanted. Only
            # now: a RST_STREAM takes queued trailers with it.
            stream.submit_reset(NGHTTP2_NO_ERROR)
    return 0


cdef int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code,
                         void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef Stream stream = stream_of(session, stream_id)
    if stream is None:
        return 0
    try:
        nghttp2_session_set_stream_user_data(session, stream_id, NULL)
        if stream.peer_reset or stream.remote_ended:
            note_ended(&connection.past, stream_id, stream.peer_reset)
        connection.end_stream(stream, code)
        return 0
    except BaseException as error:
        return keep_error(connection, error)


cdef int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                   size_t length, nghttp2_data_source *source, void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    cdef Stream stream = <Stream> source.ptr
    if connection.out_length >= connection.out_limit:
        connection.link.dirty = True
        return NGHTTP2_ERR_WOULDBLOCK
    try:
        connection.reserve_output(9 + length)
        memcpy(connection.out + connection.out_length, head, 9)
        stream.copy_output(connection.out + connection.out_length + 9, length)
        connection.out_length += 9 + length
        if stream.out_bytes == 0 or length >= FULL_FRAME:
            connection.link.full_frames += 1
        if stream.wants_writable and stream.out_bytes <= stream.low_mark:
            stream.wants_writable = False
            stream.signal(WRITABLE)
        return 0
    except BaseException as error:
        return keep_error(connection, error)


cdef ssize_t choose_frame_size(nghttp2_session *session, uint8_t frame_type, int32_t stream_id,
                               int32_t connection_window, int32_t stream_window,
                               uint32_t max_frame_size, void *user_data) noexcept:
    # A frame is put together in one piece, whatever size the peer would take.
    return min(min(connection_window, stream_window), min(<int32_t> max_frame_size, LARGEST_FRAME))


cdef int on_library_error(nghttp2_session *session, int code, const char *message, size_t length,
                          void *user_data) noexcept:
    cdef Connection connection = <Connection> user_data
    try:
        connection.library_message = (<bytes> message[:length]).decode("ascii", "backslashreplace")
    except BaseException as error:
        return keep_error(connection, error)
    return 0


cdef extern from *:
    """
    /* Not every version has these: security fixes brought some into distributions' builds. */
    extern void nghttp2_option_set_stream_reset_rate_limit(
        nghttp2_option *option, uint64_t burst, uint64_t rate) __attribute__((weak));
    extern void nghttp2_option_set_glitch_rate_limit(
        nghttp2_option *option, uint64_t burst, uint64_t rate) __attribute__((weak));
    extern void nghttp2_option_set_max_continuations(
        nghttp2_option *option, size_t val) __attribute__((weak));
    static void gyr_set_limits(
        nghttp2_option *option, uint64_t burst, uint64_t rate, size_t continuations) {
        if (nghttp2_option_set_stream_reset_rate_limit)
            nghttp2_option_set_stream_reset_rate_limit(option, burst, rate);
        if (nghttp2_option_set_glitch_rate_limit)
            nghttp2_option_set_glitch_rate_limit(option, burst, rate);
        if (nghttp2_option_set_max_continuations)
            nghttp2_option_set_max_continuations(option, continuations);
    }
    """
    void set_limits "gyr_set_limits" (
        nghttp2_option *option, uint64_t burst, uint64_t rate, size_t continuations)

# The library's own limits look at a clock, and throw a proxy's connection away for deadlines that
# pass. Those of _core/gate.pyx come first; these are out of the way.
cdef uint64_t LIBRARY_BURST = 1_000_000
cdef uint64_t LIBRARY_RATE = 1_000_000
# It counts pieces of frames as they are read; its default of 8 ends connections that come slowly.
# What a header block may hold is limited by its bytes and frames (_core/gate.pyx).
cdef size_t CONTINUATIONS = 1024 * 1024


cdef extern from *:
    """
    #include <stdlib.h>
    /* glibc gives each block of 128 KiB or more pages of its own, and takes them away when it is
       freed: a message of 1 MiB then costs 256 page faults, twice what it costs to receive it
       otherwise (on a server 1,100 us of processor time, and 450). It learns better from the first
       large block that is freed (mallopt(3), M_MMAP_THRESHOLD); this is one, of the largest message
       that is received by default, and nobody touches it. At most twice that much stays when it
       could be given back. */
    static void gyr_teach_malloc(void) {
    #ifdef __GLIBC__
        void *volatile block = malloc((4 << 20) + (64 << 10));
        free(block);
    #endif
    }
    """
    void teach_malloc "gyr_teach_malloc" ()


cdef int set_up_library() except -1:
    global CALLBACKS, OPTIONS
    if nghttp2_session_callbacks_new(&CALLBACKS) != 0 or nghttp2_option_new(&OPTIONS) != 0:
        raise MemoryError()
    nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback2(CALLBACKS, on_header)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_data_chunk)
    nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame)
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(CALLBACKS, on_bad_frame)
    nghttp2_session_callbacks_set_on_frame_send_callback(CALLBACKS, on_frame_sent)
    nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_stream_close)
    nghttp2_session_callbacks_set_send_data_callback(CALLBACKS, send_data)
    nghttp2_session_callbacks_set_error_callback2(CALLBACKS, on_library_error)
    nghttp2_session_callbacks_set_data_source_read_length_callback(CALLBACKS, choose_frame_size)
    set_limits(OPTIONS, LIBRARY_BURST, LIBRARY_RATE, CONTINUATIONS)
    nghttp2_option_set_no_auto_window_update(OPTIONS, 1)
    nghttp2_option_set_no_closed_streams(OPTIONS, 1)
    # Other implementations send a blank at an end of grpc-message as it is.
    nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(OPTIONS, 1)
    return 0

set_up_library()
teach_malloc()


# A stream's window grows to so many times what was announced, as long as its application keeps up.
cdef size_t WINDOW_GROWTH = 4
# Bytes of DATA between two looks at the window; twice as many when the last one found it right.
cdef size_t FIRST_SAMPLE = 256 * 1024
cdef size_t LAST_SAMPLE = 16 * 1024 * 1024
cdef const char *SAMPLE = b"gyrwindw"


@cython.no_gc_clear
cdef class Connection:
    """One HTTP/2 connection, sans-IO.

    Feed it with `receive(data)`; take the streams that have news with `take_ready()` and the bytes
    to send with `take_output()`. `next_timeout()` says when `on_timeout(now)` wants to be called
    (seconds on the clock of whoever sets deadlines). It belongs to one thread at a time.

    Limits: `max_concurrent_streams` of the peer's, more are refused; `stream_window` and
    `connection_window` bytes; `max_header_bytes` a header list may have (RFC 9113 6.5.2 counting)
    before the stream is marked `oversized_head`; `max_receive_bytes` a message may have;
    `max_unread_bytes` of whole messages held for applications before the connection's window stays
    shut; of messages that are not whole yet the same, the newest wait for room or are given up.
    """

    def __cinit__(self, *, bint server, uint32_t max_concurrent_streams=1000,
                  uint32_t stream_window=1024 * 1024, uint32_t connection_window=16 * 1024 * 1024,
                  size_t max_header_bytes=16 * 1024, size_t max_receive_bytes=4 * 1024 * 1024,
                  size_t max_unread_bytes=64 * 1024 * 1024, uint32_t max_frame_size=65536):
        cdef nghttp2_settings_entry settings[4]
        cdef size_t count = 0
        cdef int rv
        self.is_server = server
        self.goaway_last = -1
        self.ready = []
        self.max_header_bytes = max_header_bytes
        self.max_receive_bytes = max_receive_bytes
        self.max_concurrent_streams = max_concurrent_streams
        set_up_gate(&self.gate, server, max_frame_size, max_header_bytes)
        if server:
            rv = nghttp2_session_server_new2(&self.session, CALLBACKS, <void *> self, OPTIONS)
        else:
            rv = nghttp2_session_client_new2(&self.session, CALLBACKS, <void *> self, OPTIONS)
        if rv != 0:
            raise MemoryError()
        self.link.session = self.session
        self.link.unread_limit = max_unread_bytes
        self.link.stream_window = self.link.estimate = stream_window
        self.most_window = min(<size_t> stream_window * WINDOW_GROWTH, max_unread_bytes // 8)
        self.sample_after = FIRST_SAMPLE
        self.link.portion = max(min(<size_t> 65536, <size_t> (stream_window // 4)), <size_t> 1)
        self.link.ready = <PyObject *> self.ready
        self.link.dirty = True
        if server:
            # libnghttp2 ends the connection over one stream too many; it is told of no limit: the
            # peer is (`announce_limit`), and `on_begin_headers` refuses what is over it.
            settings[count].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
            settings[count].value = MANY_STREAMS
        else:
            settings[count].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
            settings[count].value = 0
        count += 1
        settings[count].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        settings[count].value = stream_window
        count += 1
        settings[count].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        settings[count].value = <uint32_t> max_header_bytes
        count += 1
        if max_frame_size != 16384:
            settings[count].settings_id = NGHTTP2_SETTINGS_MAX_FRAME_SIZE
            settings[count].value = max_frame_size
            count += 1
        rv = nghttp2_submit_settings(self.session, 0, settings, count)
        if rv != 0:
            raise ValueError(f"HTTP/2 settings out of range ({nghttp2_strerror(rv).decode()}): "
                             f"{stream_window=}, {max_frame_size=}")
        rv = nghttp2_session_set_local_window_size(
            self.session, 0, 0, <int32_t> connection_window)
        if rv != 0:
            raise ValueError(f"{connection_window=} is not from 0 to 2147483647")

    def __dealloc__(self):
        if self.session != NULL:
            self.release_streams(LOST)
            nghttp2_session_del(self.session)
        free(self.link.limits_met)
        free(self.small)
        Py_XDECREF(self.large)
        free(self.heap)

    # ------------------------------------------------------------------ bytes in, bytes out

    def receive(self, data, double now=0.0):
        """Take bytes that came from the peer; afterwards see `take_ready()` and `closing`.

        `now` in seconds, on a clock that never goes back, is for the limits of what a peer may do
        only so often.
        """
        cdef const uint8_t[::1] view = data
        cdef Py_ssize_t done = 0
        while done < view.shape[0]:
            done += self.receive_bytes(&view[done], <size_t> (view.shape[0] - done))
            if self.is_overdrawn():
                self.settle(now)

    cdef Py_ssize_t receive_bytes(self, const uint8_t *data, size_t length) except -1:
        """Take bytes, and return how many were taken. Afterwards, while `is_overdrawn()`: call
        `settle(now)`, then this again with those that are left."""
        cdef Py_ssize_t done
        if self.closed or self.failure is not None:
            return <Py_ssize_t> length
        self.library_message = None
        done = self.receive_held(data, length) if self.gate.held_length else 0
        if not self.gate.held_length:
            done += self.pass_on(data + done, length - <size_t> done)
        if self.failure is not None:
            done = <Py_ssize_t> length
        elif (<Py_ssize_t> nghttp2_session_get_outbound_queue_size(self.session)
                > UNSENT_FRAMES + 4 * self.open_streams):
            self.fail_limit("unsent_frames", "the peer makes answers necessary and reads none")
        self.link.dirty = True
        if self.link.received:
            self.give_back_credit()
        return done

    cdef Py_ssize_t receive_held(self, const uint8_t *data, size_t length) except -1:
        """Complete the frame whose beginning was held, and pass it on."""
        cdef Gate *gate = &self.gate
        cdef size_t done = 0
        while gate.held_length < wanted(gate.held, gate.held_length):
            if done == length:
                return <Py_ssize_t> done
            gate.held[gate.held_length] = data[done]
            gate.held_length += 1
            done += 1
        if self.pass_on(gate.held, gate.held_length) or self.failure is not None:
            gate.held_length = 0
        return <Py_ssize_t> done

    cdef Py_ssize_t pass_on(self, const uint8_t *data, size_t length) except -1:
        """Give the library what the gate lets pass, and return how many bytes were looked at: fewer
        than `length` when tokens are used up."""
        cdef Gate *gate = &self.gate
        cdef size_t at = 0
        cdef size_t run
        cdef Stop stop
        while at < length and self.failure is None:
            if gate.dropping:
                run = min(gate.dropping, length - at)
                gate.dropping -= run
                at += run
                continue
            stop = scan(gate, self.session, data + at, length - at, &run)
            if run:
                self.feed(data + at, run)
                at += run
            if stop == OVERDRAWN:
                break
            if stop == LONG_BLOCK:
                self.fail_limit(
                    "header_block", f"{gate.block_frames} frames, {gate.block_bytes} bytes so far")
            elif stop == PARTIAL:
                memcpy(gate.held, data + at, length - at)
                gate.held_length = length - at
                at = length
            elif stop == DROP:
                gate.dropping = FRAME_HEAD + (number_at(data + at) >> 8)
            elif stop == SUSPECT and not run:
                # Otherwise it is looked at once more, now that the library has what came before.
                if gate.chopped:
                    self.feed_chopped()
                else:
                    at += self.decide(data + at)
        return <Py_ssize_t> at

    cdef int feed(self, const uint8_t *data, size_t length) except -1:
        cdef ssize_t rv = nghttp2_session_mem_recv(self.session, data, length)
        if not (self.gate.left or self.gate.in_block):
            self.gate.ended = self.gate.headed = 0      # the library knows by now
        self.gate.passed = self.gate.last_stream
        if self.callback_error is not None:
            error, self.callback_error = self.callback_error, None
            raise error
        if self.flooded:
            self.fail_limit(
                "unsent_frames", f"{self.refused_streams} streams over "
                f"max_concurrent_streams={self.max_concurrent_streams}, and no answer is read")
        elif rv == NGHTTP2_ERR_FLOODED:
            self.fail_limit("unsent_frames", "answers to PING and SETTINGS, and none is read")
        elif rv < 0:
            # The library could not answer on the connection (bad preface): it is over.
            self.failure = (self.library_message
                            or nghttp2_strerror(<int> rv).decode("ascii"))
            nghttp2_session_terminate_session(self.session, NGHTTP2_PROTOCOL_ERROR)
        return 0

    # Mistakes that are one stream's own (RFC 9113 5.1, 4.2, 6.3, 6.9), over which the library would
    # end the connection, and with it the calls of everybody else behind the same proxy.

    cdef int decide(self, const uint8_t *frame) except -1:
        """Deal with a frame that may be a mistake; returns how many bytes were passed on."""
        cdef uint8_t kind = frame[3]
        cdef uint8_t flags = frame[4]
        cdef uint32_t stream_id = number_at(frame + 5) & 0x7fffffff
        cdef size_t size = number_at(frame) >> 8
        cdef Stream stream = stream_of(self.session, <int32_t> stream_id)
        cdef uint32_t code
        if kind == NGHTTP2_WINDOW_UPDATE or kind == NGHTTP2_PRIORITY:
            if not self.is_idle(stream_id):
                code = NGHTTP2_PROTOCOL_ERROR
                if kind == NGHTTP2_PRIORITY and size != 5:
                    code = NGHTTP2_FRAME_SIZE_ERROR
                if stream is not None:
                    stream.reset(code)
                elif self.is_server:
                    self.answer_late(kind, <int32_t> stream_id, code)
                self.gate.dropping = FRAME_HEAD + size
                return 0
        elif stream is None and self.is_server and not self.is_idle(stream_id):
            self.answer_late(kind, <int32_t> stream_id, NGHTTP2_STREAM_CLOSED)
            if self.failure is not None:
                return <int> FRAME_HEAD
        elif stream is not None and stream.remote_ended:
            # The library ignores what comes on a stream that it has forgotten.
            stream.reset(NGHTTP2_STREAM_CLOSED)
            self.fill_output(EARLY_OUTPUT)
            judge_late(&self.past, <int32_t> stream_id)     # told
            self.link.dirty = True
        elif kind == NGHTTP2_DATA and stream is not None:
            stream.reset(NGHTTP2_FRAME_SIZE_ERROR if size > self.gate.max_frame_size
                         else NGHTTP2_PROTOCOL_ERROR)
        if kind == NGHTTP2_DATA and size > self.gate.max_frame_size:
            self.begin_chopped(frame, size)
            return <int> FRAME_HEAD
        self.feed(frame, FRAME_HEAD)
        self.gate.left = size
        if kind == NGHTTP2_HEADERS and not flags & NGHTTP2_FLAG_END_HEADERS:
            begin_block(&self.gate, size)
        return <int> FRAME_HEAD

    cdef int answer_late(self, uint8_t kind, int32_t stream_id, uint32_t code) except -1:
        """Server: a frame for a stream that is over. The library would let it go by."""
        cdef Verdict verdict = judge_late(&self.past, stream_id)
        if verdict == AFTER_RESET or (verdict == AFTER_END and kind != NGHTTP2_HEADERS):
            nghttp2_submit_rst_stream(self.session, 0, stream_id, code)
        elif verdict == AFTER_END:
            self.give_up(NGHTTP2_STREAM_CLOSED, b"",
                         f"HEADERS for stream {stream_id}, which is closed")
        elif verdict == LEFT_OUT and (kind == NGHTTP2_HEADERS or kind == NGHTTP2_DATA):
            # RFC 9113 5.1.1: an id that another stream has passed by.
            self.give_up(NGHTTP2_PROTOCOL_ERROR, b"",
                         f"stream {stream_id} comes after stream {self.past.newest}")
        return 0

    cdef bint is_idle(self, uint32_t stream_id) noexcept:
        """Whether a stream was not opened yet, or nobody could open it."""
        if self.is_server:
            return not stream_id & 1 or stream_id > <uint32_t> self.gate.last_stream
        return (not stream_id & 1
                or stream_id >= nghttp2_session_get_next_stream_id(self.session))

    cdef int begin_chopped(self, const uint8_t *frame, size_t size) except -1:
        """An oversized DATA frame of a stream that was reset: the library gets it in pieces, and
        keeps account of the window."""
        memcpy(self.gate.chopped_head, frame, FRAME_HEAD)
        self.gate.chopped_head[4] = 0   # no padding, no end
        self.gate.chopped = size
        return 0

    cdef int feed_chopped(self) except -1:
        cdef Gate *gate = &self.gate
        gate.left = min(gate.chopped, CHOPPED_FRAME)
        gate.chopped -= gate.left
        gate.chopped_head[0] = 0
        gate.chopped_head[1] = <uint8_t> (gate.left >> 8)
        gate.chopped_head[2] = <uint8_t> gate.left
        return self.feed(gate.chopped_head, FRAME_HEAD)

    cdef int give_back_credit(self) except -1:
        """Return the connection's credit of what came, unless too much waits unread."""
        cdef size_t credit = self.link.received
        self.link.received = 0
        if self.link.unread >= self.link.unread_limit:
            if not self.link.withheld:
                count_limit(&self.link, MAX_UNREAD_BYTES)
            self.link.withheld += credit
        else:
            nghttp2_session_consume_connection(self.session, credit)
        if self.link.estimate < self.most_window:
            self.sample_window(credit)
        return 0

    # The window that keeps a sender busy is what it can send in the time of a round trip, and the
    # peer's answer to a PING takes that long. So one is sent while much comes; where about a
    # window or more comes before its answer, the window is too small.

    cdef int sample_window(self, size_t came) except -1:
        """So many bytes of DATA came."""
        self.sample += came
        if not self.sampling and self.sample >= self.sample_after:
            self.sampling = True
            # What came together with what made it look was sent together, too.
            self.sample = came
            nghttp2_submit_ping(self.session, 0, <const uint8_t *> SAMPLE)
        return 0

    cdef void end_sample(self) noexcept:
        """The PING was answered."""
        self.sampling = False
        if 3 * self.sample >= 2 * self.link.estimate:
            self.link.estimate = min(2 * max(self.sample, self.link.estimate), self.most_window)
        else:
            self.sample_after = min(2 * self.sample_after, LAST_SAMPLE)
        self.sample = 0

    # ------------------------------------------------------------------ limits

    cdef bint is_overdrawn(self) noexcept:
        """Whether the peer did something more often than is known to be allowed."""
        return self.failure is None and lacks_tokens(&self.gate)

    cdef int settle(self, double now) except -1:
        """Count what time and work have earned the peer. When that is not enough, the connection
        ends."""
        cdef uint64_t earned[9]
        cdef Link *link = &self.link
        cdef int kind = self.gate.overdrawn
        earned[:] = [
            link.streams_succeeded,
            link.streams_succeeded // 16,
            0,
            self.gate.data_frames + link.full_frames,
            0,
            4 * link.streams_started,
            4 * link.full_frames + 2 * link.streams_started,
            link.streams_started + link.messages_received,
            4 * link.messages_received + link.streams_started,
        ]
        refill(&self.gate, now, earned)
        self.gate.overdrawn = -1
        if kind >= 0 and self.gate.buckets[kind].tokens <= 0:
            limit = _FRAME_RATES[kind]
            self.fail_limit(limit.name, f"more than {limit.rate} a second, {limit.burst} at once")
        return 0

    def begin(self, double now):
        """Tell the time when the connection begins (see `receive`)."""
        self.settle(now)

    cdef int fail_limit(self, str name, str detail) except -1:
        """End the connection over a limit: GOAWAY(ENHANCE_YOUR_CALM) that names it, and no more."""
        if self.failure is None:
            self.limit = name
            count_limit(&self.link, number_of(name))
            self.give_up(NGHTTP2_ENHANCE_YOUR_CALM, name.encode(), f"{name}: {detail}")
        return 0

    # ------------------------------------------------------------------ output

    def take_output(self, size_t limit=0xffffffff):
        """The bytes to send now, about `limit` at most; empty when there are none."""
        return self.take_output_bytes(limit)

    cdef bytes take_output_bytes(self, size_t limit):
        cdef bytes output
        if self.session == NULL:
            return b""
        self.link.dirty = False
        self.fill_output(limit)
        if self.large != NULL:
            if self.out_length != self.out_capacity:
                _PyBytes_Resize(&self.large, <Py_ssize_t> self.out_length)
            output = <bytes> self.large
            Py_DECREF(output)
            self.large = NULL
        else:
            output = PyBytes_FromStringAndSize(<char *> self.out, <Py_ssize_t> self.out_length)
        self.out = self.small
        self.out_capacity = SMALL_OUTPUT if self.small != NULL else 0
        self.out_length = 0
        return output

    cdef int fill_output(self, size_t limit) except -1:
        """Have the library make frames until there are about `limit` bytes of them."""
        cdef const uint8_t *data = NULL
        cdef ssize_t length
        if self.link.stalled:
            self.make_room()
        self.out_limit = limit
        while self.out_length < limit:
            if self.hung_up:
                break
            length = nghttp2_session_mem_send(self.session, &data)
            if self.callback_error is not None:
                error, self.callback_error = self.callback_error, None
                raise error
            if length < 0:
                self.failure = self.failure or nghttp2_strerror(<int> length).decode("ascii")
                break
            if length == 0:
                break
            if self.is_server and not self.limit_announced and data[3] == NGHTTP2_SETTINGS:
                self.announce_limit(data, <size_t> length)
            elif self.drain_data is not None and data[3] == NGHTTP2_GOAWAY:
                self.append_goaway(data, <size_t> length)
            else:
                self.append_output(data, <size_t> length)
        else:
            self.link.dirty = True
        return 0

    cdef int reserve_output(self, size_t length) except -1:
        cdef size_t needed = self.out_length + length
        cdef size_t capacity
        if needed <= self.out_capacity:
            return 0
        if self.large == NULL and needed <= SMALL_OUTPUT:
            self.small = <uint8_t *> malloc(SMALL_OUTPUT)
            if self.small == NULL:
                raise MemoryError()
            self.out = self.small
            self.out_capacity = SMALL_OUTPUT
            return 0
        capacity = max(max(self.out_capacity * 2, needed), LARGE_OUTPUT)
        if self.large != NULL:
            _PyBytes_Resize(&self.large, <Py_ssize_t> capacity)
        else:
            self.large = PyBytes_New(NULL, <Py_ssize_t> capacity)
            memcpy(PyBytes_AS_STRING(<object> self.large), self.out, self.out_length)
        self.out = <uint8_t *> PyBytes_AS_STRING(<object> self.large)
        self.out_capacity = capacity
        return 0

    cdef int append_output(self, const uint8_t *data, size_t length) except -1:
        self.reserve_output(length)
        memcpy(self.out + self.out_length, data, length)
        self.out_length += length
        return 0

    cdef int append_goaway(self, const uint8_t *data, size_t length) except -1:
        """Send a GOAWAY that the library made without debug data with those of `drain`."""
        cdef size_t size = len(self.drain_data)
        cdef uint8_t *frame
        if length != FRAME_HEAD + GOAWAY_SIZE:
            return self.append_output(data, length)     # it has its own
        self.reserve_output(length + size)
        frame = self.out + self.out_length
        memcpy(frame, data, length)
        memcpy(frame + length, PyBytes_AS_STRING(self.drain_data), size)
        frame[1] = <uint8_t> ((GOAWAY_SIZE + size) >> 8)
        frame[2] = <uint8_t> (GOAWAY_SIZE + size)
        self.out_length += length + size
        return 0

    cdef int announce_limit(self, const uint8_t *data, size_t length) except -1:
        """Send the first frame, SETTINGS, with the limit on streams that is kept here."""
        cdef size_t at = self.out_length + FIRST_VALUE
        cdef uint32_t limit = self.max_concurrent_streams
        cdef int index
        self.append_output(data, length)
        for index in range(4):
            self.out[at + index] = <uint8_t> (limit >> (24 - 8 * index))
        self.limit_announced = True
        return 0

    def take_ready(self):
        """The streams that have events, each once, in the order they came;
        see Stream.take_events()."""
        return self.take_ready_streams()

    cdef list take_ready_streams(self):
        cdef list ready = self.ready
        cdef Stream stream
        self.ready = []
        self.link.ready = <PyObject *> self.ready
        for stream in ready:
            stream.queued = False
        return ready

    @property
    def closing(self):
        """Whether HTTP/2 is done with this connection: flush, then close the transport."""
        return (self.session == NULL or self.failure is not None
                or not (nghttp2_session_want_read(self.session)
                        or nghttp2_session_want_write(self.session)))

    # ------------------------------------------------------------------ streams

    def open(self, Fields fields not None, Fields extra=None):
        """Client: submit a request with these header fields; messages and the half-close follow."""
        if self.is_server:
            raise ValueError("a server's connection cannot open streams")
        return self.open_stream(fields, extra)

    cdef Stream open_stream(self, Fields fields, Fields extra):
        cdef nghttp2_data_provider provider
        cdef nghttp2_nv *items = fields.items
        cdef nghttp2_nv *both = NULL
        cdef Py_ssize_t count = fields.count
        cdef int32_t stream_id
        cdef Stream stream = Stream.__new__(Stream)
        if self.session == NULL:
            raise ConnectionError("the connection is closed")
        if extra is not None and extra.count:
            both = <nghttp2_nv *> malloc((count + extra.count) * sizeof(nghttp2_nv))
            if both == NULL:
                raise MemoryError()
            memcpy(both, items, count * sizeof(nghttp2_nv))
            memcpy(&both[count], extra.items, extra.count * sizeof(nghttp2_nv))
            items = both
            count += extra.count
        stream.kept_head = fields
        stream.kept_extra = extra
        stream.max_receive_bytes = self.max_receive_bytes
        provider.source.ptr = <void *> stream
        provider.read_callback = read_data
        stream_id = nghttp2_submit_request(
            self.session, NULL, items, count, &provider, <void *> stream)
        free(both)
        if stream_id < 0:
            raise ConnectionError(
                f"no stream could be opened: {nghttp2_strerror(stream_id).decode()}")
        stream.id = stream_id
        stream.opened = True
        self.link_stream(stream)
        self.link.dirty = True
        return stream

    cdef void link_stream(self, Stream stream) noexcept:
        Py_INCREF(stream)
        stream.link = &self.link
        stream.window = self.link.stream_window
        stream.next = self.first_stream
        if self.first_stream != NULL:
            (<Stream> self.first_stream).previous = <PyObject *> stream
        self.first_stream = <PyObject *> stream
        self.open_streams += 1
        self.link.streams_started += 1

    cdef void unlink_stream(self, Stream stream) noexcept:
        if stream.previous != NULL:
            (<Stream> stream.previous).next = stream.next
        else:
            self.first_stream = stream.next
        if stream.next != NULL:
            (<Stream> stream.next).previous = stream.previous
        stream.previous = stream.next = NULL
        self.open_streams -= 1
        if self.header_stream == <PyObject *> stream:
            self.header_stream = NULL
        self.disarm(stream)
        Py_DECREF(stream)

    cdef int refuse(self, int32_t stream_id) noexcept:
        """Server: refuse a stream whose head is coming (RFC 9113 5.1.2)."""
        self.refused_streams += 1
        count_limit(&self.link, MAX_CONCURRENT_STREAMS)
        self.gate.buckets[REFUSED_STREAMS].tokens -= 1
        if self.refusals_waiting >= UNSENT_FRAMES:
            self.flooded = True
            return NGHTTP2_ERR_CALLBACK_FAILURE
        self.refusals_waiting += 1
        nghttp2_submit_rst_stream(self.session, 0, stream_id, NGHTTP2_REFUSED_STREAM)
        # No more of its head is shown, and no second RST_STREAM made.
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE

    cdef int refuse_stream(self, Stream stream) except -1:
        """Server: refuse a stream whose head came, for a reason of the caller's."""
        self.refused_streams += 1
        self.refusals_waiting += 1
        self.gate.buckets[REFUSED_STREAMS].tokens -= 1
        return stream.reset(NGHTTP2_REFUSED_STREAM)

    cdef int give_up(self, uint32_t code, bytes data, str reason) except -1:
        """End the connection over what the peer does: GOAWAY with that code and debug data, then
        nothing; `failure` is the reason, for the log."""
        if self.failure is None and self.session != NULL:
            self.goaway(code, data)
            self.failure = reason
        return 0

    def note_failure(self, str reason):
        """Note why the connection is to be dropped, if nothing was noted before."""
        self.failure = self.failure or reason

    cdef int end_lingering(self) except -1:
        """Server: wait no longer for the ends of requests that were answered as no gRPC."""
        cdef PyObject *pointer = self.first_stream
        while pointer != NULL:
            if (<Stream> pointer).lingers and (<Stream> pointer).head_sent:
                (<Stream> pointer).submit_reset(NGHTTP2_NO_ERROR)
            pointer = (<Stream> pointer).next
        return 0

    cdef int make_room(self) except -1:
        """Let the unfinished messages that wait for room go on, oldest first, as many as can."""
        cdef PyObject *pointer
        cdef Stream oldest
        while self.link.stalled:
            pointer = self.first_stream
            oldest = None
            while pointer != NULL:
                if (<Stream> pointer).stalled:
                    oldest = <Stream> pointer
                pointer = (<Stream> pointer).next
            if not oldest.promise_room():
                break
            oldest.give_credit(True)
        return 0

    cdef int give_up_newest(self) except -1:
        """Give up the newest of the messages that are not whole: the windows hold too much."""
        cdef Stream stream = <Stream> self.first_stream
        while stream.partial == NULL or self.link.favoured == <PyObject *> stream:
            stream = <Stream> stream.next
        count_limit(&self.link, MAX_UNREAD_BYTES)
        stream.fail_input(
            NO_ROOM,
            f"message of {stream.message_length} bytes given up: its connection has no room for it "
            f"beside older ones that are not whole yet (max_unread_bytes={self.link.unread_limit})")
        return 0

    cdef int end_stream(self, Stream stream, int64_t code) except -1:
        if not self.is_server and not stream.head_sent:
            stream.events |= UNSENT
            self.link.streams_started -= 1
        elif stream.head_sent if self.is_server else stream.remote_ended:
            self.link.streams_succeeded += 1
        else:
            self.link.streams_failed += 1
        stream.close(code)
        self.unlink_stream(stream)
        return 0

    cdef int give_up_unsent(self) except -1:
        """End the streams whose request still waits inside the library: it will not be sent.

        The library forgets them when it gets there, which it may not before other streams end;
        until then they stay linked, so that they live as long as it points to them.
        """
        cdef PyObject *pointer = self.first_stream
        cdef Stream stream
        while pointer != NULL:
            stream = <Stream> pointer
            pointer = stream.next
            if not self.is_server and not stream.head_sent and stream.link != NULL:
                stream.submit_reset(NGHTTP2_CANCEL)
                stream.events |= UNSENT
                self.disarm(stream)
                stream.close(NGHTTP2_REFUSED_STREAM)
        return 0

    cdef int release_streams(self, int64_t code) except -1:
        while self.first_stream != NULL:
            self.end_stream(<Stream> self.first_stream, code)
        return 0

    def streams(self):
        """The streams that are open."""
        cdef PyObject *pointer = self.first_stream
        found = []
        while pointer != NULL:
            found.append(<Stream> pointer)
            pointer = (<Stream> pointer).next
        return found

    @property
    def limits(self):
        """How often each limit was met on this connection, by name (rpc.limits); without those
        that were not."""
        return limit_counts(&self.link)

    def count_limit(self, name):
        """Count that a limit was met once more. KeyError for a name that rpc.limits lacks."""
        count_limit(&self.link, number_of(name))

    @property
    def unread_bytes(self):
        """Bytes of whole messages that are held for applications."""
        return self.link.unread

    @property
    def streams_started(self):
        """Streams that either end opened (a client: those that were sent, or are to be)."""
        return self.link.streams_started

    @property
    def streams_succeeded(self):
        """Streams that the server ended with END_STREAM."""
        return self.link.streams_succeeded

    @property
    def streams_failed(self):
        """Streams that were reset, or lost with the connection."""
        return self.link.streams_failed

    @property
    def messages_sent(self):
        """Messages whose last byte was taken with the output; those that went together with later
        ones count when these are out."""
        return self.link.messages_sent

    @property
    def messages_received(self):
        """Whole messages that came."""
        return self.link.messages_received

    @property
    def send_window(self):
        """Bytes that may be sent at present, all streams together (RFC 9113 6.9.1)."""
        return 0 if self.session == NULL else nghttp2_session_get_remote_window_size(self.session)

    @property
    def receive_window(self):
        """Bytes that the peer may send at present, all streams together."""
        return 0 if self.session == NULL else nghttp2_session_get_local_window_size(self.session)

    @property
    def unfinished_bytes(self):
        """Bytes of messages that are not whole yet."""
        cdef PyObject *favoured = self.link.favoured
        return (self.link.unfinished
                + (0 if favoured == NULL else (<Stream> favoured).message_received))

    @property
    def can_open(self):
        """Client: whether new streams may be opened (no GOAWAY either way, ids left)."""
        return (self.session != NULL and not self.goaway_received
                and bool(nghttp2_session_check_request_allowed(self.session)))

    @property
    def peer_max_concurrent_streams(self):
        """What the peer allows at once (4294967295 when it did not say)."""
        if self.session == NULL:
            return 0
        return nghttp2_session_get_remote_settings(
            self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)

    # ------------------------------------------------------------------ the connection itself

    def ping(self, bytes data not None=b"gyrfalcn"):
        """Send PING with these eight bytes; `pings_acknowledged` counts the answers."""
        if len(data) != 8:
            raise ValueError(f"a PING carries 8 bytes, not {len(data)}")
        if self.session != NULL:
            nghttp2_submit_ping(self.session, 0, <const uint8_t *> <char *> data)
            self.link.dirty = True

    def drain(self, bytes data not None=b""):
        """Server: first step of a graceful stop (RFC 9113 6.8): GOAWAY(2^31-1) and a PING.

        `data` is the debug data of both GOAWAYs, up to 1,024 bytes.
        When the PING is acknowledged (`drain_ready`) or that took too long, call `finish_drain()`.
        """
        if self.session != NULL and not self.draining:
            if len(data) > MOST_DEBUG_DATA:
                raise ValueError(f"debug data of {len(data)} bytes: {MOST_DEBUG_DATA} is the most")
            self.draining = True
            self.drain_data = data or None
            self.drain_ping = b"gyrdrain"
            self.end_lingering()
            nghttp2_submit_shutdown_notice(self.session)
            self.link.dirty = True

    def finish_drain(self):
        """Server: second step: GOAWAY with the last stream that was taken on."""
        if self.session != NULL:
            self.drain_ready = False
            self.drain_ping = None
            self.goaway(0)

    def goaway(self, uint32_t code=0, bytes data not None=b""):
        """Send GOAWAY with the last stream id taken on; streams up to it go on."""
        if self.session != NULL:
            self.draining = True
            self.end_lingering()
            self.own_goaway_code = code
            if self.goaway_last < 0:
                # From here on, not only when it is sent: the client may make those calls again.
                self.goaway_last = nghttp2_session_get_last_proc_stream_id(self.session)
            nghttp2_submit_goaway(self.session, 0, self.goaway_last, code,
                                  <const uint8_t *> <char *> data, len(data))
            self.link.dirty = True

    def terminate(self, uint32_t code=0):
        """Send GOAWAY and nothing after it; `closing` is true once that is taken."""
        if self.session != NULL:
            self.own_goaway_code = code
            nghttp2_session_terminate_session(self.session, code)
            self.link.dirty = True

    def close(self):
        """The transport is gone: every open stream gets CLOSED with `reset_code` -2."""
        if not self.closed:
            self.closed = True
            self.release_streams(LOST)
            nghttp2_session_del(self.session)
            self.session = NULL
            self.link.session = NULL

    # ------------------------------------------------------------------ deadlines

    def set_deadline(self, Stream stream not None, double deadline):
        """Have the stream's DEADLINE event set
        by the first on_timeout(now) with now >= deadline."""
        self.arm(stream, deadline)

    cdef double find_stalled(self, double now, double patience) except -1:
        """Set STALLED on every stream of whose output the peer has taken nothing for `patience`
        seconds; when to look again, 0 when nothing waits. Looked at first when output begins to
        wait, then every quarter of `patience`: that much longer it may take."""
        cdef PyObject *pointer = self.first_stream
        cdef Stream stream
        cdef double first = now + patience / 4
        while pointer != NULL:
            stream = <Stream> pointer
            pointer = stream.next
            # A request that waits for its turn inside the library is not stalled.
            if stream.out_bytes == 0 or (not self.is_server and not stream.head_sent):
                stream.waiting_since = 0
                continue
            if stream.waiting_since == 0 or stream.frames_sent != stream.frames_seen:
                stream.frames_seen = stream.frames_sent
                stream.waiting_since = now
            elif now - stream.waiting_since >= patience:
                stream.waiting_since = NEVER    # told once
                count_limit(&self.link, STALL_TIMEOUT)
                stream.signal(STALLED)
            first = min(first, stream.waiting_since + patience)
        return first if self.link.queued else 0

    def next_timeout(self):
        """When on_timeout() wants to be called, or None."""
        return (<Stream> self.heap[0]).deadline if self.heap_length else None

    def on_timeout(self, double now):
        """Set DEADLINE on every stream whose time has come."""
        cdef Stream stream
        while self.heap_length and (<Stream> self.heap[0]).deadline <= now:
            stream = <Stream> self.heap[0]
            self.disarm(stream)
            stream.signal(DEADLINE)

    cdef int arm(self, Stream stream, double deadline) except -1:
        cdef PyObject **heap
        cdef Py_ssize_t capacity
        if stream.link != &self.link:
            return 0
        self.disarm(stream)
        if self.heap_length == self.heap_capacity:
            capacity = self.heap_capacity * 2 if self.heap_capacity else 16
            heap = <PyObject **> realloc(self.heap, capacity * sizeof(PyObject *))
            if heap == NULL:
                raise MemoryError()
            self.heap = heap
            self.heap_capacity = capacity
        stream.deadline = deadline
        stream.heap_index = self.heap_length
        self.heap[self.heap_length] = <PyObject *> stream
        self.heap_length += 1
        self.sift_up(stream.heap_index)
        return 0

    cdef void disarm(self, Stream stream) noexcept:
        cdef Py_ssize_t index = stream.heap_index
        cdef PyObject *last
        if index < 0:
            return
        stream.heap_index = -1
        self.heap_length -= 1
        if index == self.heap_length:
            return
        last = self.heap[self.heap_length]
        self.heap[index] = last
        (<Stream> last).heap_index = index
        self.sift_up(index)
        self.sift_down((<Stream> last).heap_index)

    cdef void sift_up(self, Py_ssize_t index) noexcept:
        cdef Py_ssize_t parent
        cdef PyObject *item = self.heap[index]
        cdef double deadline = (<Stream> item).deadline
        while index > 0:
            parent = (index - 1) >> 1
            if (<Stream> self.heap[parent]).deadline <= deadline:
                break
            self.heap[index] = self.heap[parent]
            (<Stream> self.heap[index]).heap_index = index
            index = parent
        self.heap[index] = item
        (<Stream> item).heap_index = index

    cdef void sift_down(self, Py_ssize_t index) noexcept:
        cdef Py_ssize_t child
        cdef PyObject *item = self.heap[index]
        cdef double deadline = (<Stream> item).deadline
        while True:
            child = 2 * index + 1
            if child >= self.heap_length:
                break
            if (child + 1 < self.heap_length
                    and (<Stream> self.heap[child + 1]).deadline
                    < (<Stream> self.heap[child]).deadline):
                child += 1
            if (<Stream> self.heap[child]).deadline >= deadline:
                break
            self.heap[index] = self.heap[child]
            (<Stream> self.heap[index]).heap_index = index
            index = child
        self.heap[index] = item
        (<Stream> item).heap_index = index
