from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from .fields cimport Fields, HeaderBlock
from .nghttp2 cimport nghttp2_data_source, nghttp2_session, ssize_t

# What a stream can have to tell (bits of Stream.events).
cdef enum Event:
    HEAD = 1            # the head came: Stream.head
    MESSAGE = 2         # one or more messages wait: Stream.take_message()
    END = 4             # the peer half-closed, after its last message: Stream.trailers
    FAULT = 8           # what the peer sent is no gRPC: Stream.fault
    CLOSED = 16         # the stream is over in both directions: Stream.reset_code
    WRITABLE = 32       # what waits to be sent fell under the low mark
    DEADLINE = 64       # the stream's deadline passed
    UNSENT = 128        # with CLOSED: the peer never saw this request
    STALLED = 256       # the peer takes nothing of what waits to be sent, for too long


# What the streams of one connection share; the connection owns it.
cdef struct Link:
    nghttp2_session *session
    size_t unread               # message bytes held for applications, all streams
    size_t unread_limit         # of `unread`, and of `unfinished`
    size_t unfinished           # bytes of messages that are not whole, all streams but `favoured`
    size_t reserved             # what may still come of these messages
    PyObject *favoured          # the stream whose message may always become whole, or NULL
    Py_ssize_t stalled          # streams whose message waits for room to become whole
    size_t stream_window        # bytes, as announced
    size_t estimate             # what streams whose application keeps up are given
    size_t withheld             # connection credit not given back while `unread` is over its limit
    size_t portion              # stream credit goes back in pieces of this many bytes or more
    size_t received             # connection credit to give back after this batch
    bint dirty                  # something may wait to be sent
    PyObject *ready             # list of the streams that have events
    uint64_t streams_started
    uint64_t streams_succeeded  # the server ended them, with END_STREAM
    uint64_t streams_failed
    uint64_t messages_sent      # those whose last byte was put into a frame
    uint64_t messages_received
    size_t queued               # bytes that wait to be sent, all streams
    uint32_t *limits_met        # see limits.pxd; NULL while none was
    uint64_t full_frames        # DATA frames sent that no window of the peer's cut short


cdef struct Segment:
    Segment *next
    PyObject *owner             # keeps `data` alive; NULL when the bytes follow this struct
    const uint8_t *data
    size_t length
    size_t offset
    size_t capacity
    uint64_t messages           # that end in here


cdef class CompressedMessage:
    cdef readonly bytes data


cdef class Sink:
    cdef int progress(self, Stream stream, int events) except -1


cdef class Stream:
    cdef Link *link             # NULL once closed
    cdef readonly int32_t id
    cdef public Sink sink
    cdef readonly int events
    cdef bint queued
    cdef PyObject *previous     # the connection's list of open streams (it holds the references)
    cdef PyObject *next

    # what came
    cdef readonly HeaderBlock head
    cdef readonly HeaderBlock trailers
    cdef readonly bint oversized_head
    cdef readonly bint head_received
    cdef readonly bint trailers_only    # a response whose head ended it
    cdef readonly bint foreign          # a response that is no gRPC: its body is dropped
    cdef readonly bint remote_ended
    cdef bint peer_reset        # by RST_STREAM
    cdef readonly int64_t reset_code
    cdef readonly object fault
    cdef public size_t max_receive_bytes
    cdef object first           # the oldest message that waits; most calls never have a second
    cdef list messages          # those behind it
    cdef Py_ssize_t taken
    cdef uint8_t prefix[5]
    cdef int prefix_length
    cdef size_t message_length
    cdef size_t message_received
    cdef PyObject *partial
    cdef Py_ssize_t partial_capacity
    cdef size_t queued_bytes
    cdef readonly uint64_t received_message_bytes   # without the five bytes before each message
    cdef size_t window              # bytes that the peer may send ahead
    cdef size_t uncredited
    cdef bint discarding
    cdef size_t reserved        # of the message that is not whole: what may still come
    cdef bint promised          # it can become whole: it gets credit as it comes
    cdef bint stalled           # it cannot for now

    # what goes
    cdef Segment *out_first
    cdef Segment *out_last
    cdef readonly size_t out_bytes
    cdef size_t packed          # of these, in a DATA frame that libnghttp2 has made already
    cdef size_t last_size       # of the last message that was queued
    cdef readonly uint64_t sent_message_bytes       # queued, without the five bytes before each
    cdef size_t low_mark
    cdef bint wants_writable
    cdef uint32_t frames_sent   # DATA frames, as `Connection.find_stalled` looks for progress
    cdef uint32_t frames_seen
    cdef double waiting_since   # 0: nothing waited at the last look
    cdef bint opened            # a head was submitted
    cdef bint deferred          # libnghttp2 waits for resume_data
    cdef bint data_ended        # nothing more will be appended
    cdef readonly bint local_ended
    cdef bint head_sent
    cdef bint lingers           # when it is answered, its peer may still send to the end
    cdef bint reset_submitted
    cdef bint is_server
    cdef Fields out_trailers
    cdef Fields kept_head
    cdef Fields kept_extra

    # deadline heap of the connection
    cdef public double deadline
    cdef Py_ssize_t heap_index

    cdef int signal(self, int event) except -1
    cdef int receive_data(self, const uint8_t *data, size_t length) except -1
    cdef int receive_end(self) except -1
    cdef int close(self, int64_t code) except -1
    cdef object next_message(self)
    cdef object peek_message(self)
    cdef object pop_message(self)
    cdef bint owes_credit(self) noexcept
    cdef int return_credit(self) except -1
    cdef Py_ssize_t waiting_messages(self) noexcept
    cdef int begin_message(self) except -1
    cdef void drop_partial(self) noexcept
    cdef void release_room(self) noexcept
    cdef void begin_partial(self) noexcept
    cdef bint promise_room(self) noexcept
    cdef int push_message(self, object data) except -1
    cdef int give_credit(self, bint force) except -1
    cdef int release_credit(self, size_t size) except -1
    cdef int fail_input(self, int code, str message) except -1
    cdef int discard_input(self) except -1
    cdef int submit_head(self, Fields fields, Fields extra, bint end) except -1
    cdef int append_message(self, bytes data, bint compressed) except -1
    cdef int make_room(self, size_t length) except -1
    cdef int append_copy(self, const uint8_t *data, size_t length) except -1
    cdef int append_reference(self, bytes data) except -1
    cdef int end_data(self, Fields trailers, Fields extra) except -1
    cdef Py_ssize_t peer_header_limit(self) noexcept
    cdef int resume(self) except -1
    cdef int adopt_output(self, Stream other) except -1
    cdef bint has_room(self) noexcept
    cdef int reset(self, uint32_t code) except -1
    cdef int stop_sending(self, uint32_t code) except -1
    cdef void submit_reset(self, uint32_t code) noexcept
    cdef void drop_output(self, size_t keep) noexcept
    cdef void copy_output(self, uint8_t *target, size_t length) noexcept


cdef ssize_t read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *user_data) noexcept
