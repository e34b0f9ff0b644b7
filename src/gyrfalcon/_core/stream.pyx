"""One stream of a connection: gRPC messages in and out,
and the credit that flow control gives back.

What a consumer sees of the peer's side keeps to one grammar: the head, messages, then at most one
END or FAULT; CLOSED comes exactly once, last.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cimport cython

from .fields cimport Fields
from .limits cimport count_limit
from .nghttp2 cimport (
    NGHTTP2_DATA_FLAG_EOF,
    NGHTTP2_DATA_FLAG_NO_COPY,
    NGHTTP2_DATA_FLAG_NO_END_STREAM,
    NGHTTP2_ERR_CALLBACK_FAILURE,
    NGHTTP2_ERR_DEFERRED,
    NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
    nghttp2_data_provider,
    nghttp2_data_source,
    nghttp2_nv,
    nghttp2_session,
    nghttp2_session_consume_connection,
    nghttp2_session_consume_stream,
    nghttp2_session_get_remote_settings,
    nghttp2_session_resume_data,
    nghttp2_session_set_local_window_size,
    nghttp2_submit_response,
    nghttp2_submit_rst_stream,
    nghttp2_submit_trailer,
    ssize_t,
)

from ..rpc.limits import number_of

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **bytes, Py_ssize_t newsize) except -1
    PyObject *PyBytes_New "PyBytes_FromStringAndSize" (const char *v, Py_ssize_t n) except NULL

# Codes of `Stream.fault`: gRPC status codes, the only ones that framing alone can decide.
cdef int RESOURCE_EXHAUSTED = 8
cdef int INTERNAL = 13

cdef int MAX_RECEIVE_BYTES = number_of("max_receive_bytes")

# Messages up to this many bytes are copied behind one another; larger ones are sent from where
# they lie. At 16 KiB (one DATA frame) the copy costs less than a segment of its own.
cdef size_t COPY_LIMIT = 16 * 1024
cdef size_t SEGMENT_SIZE = 16 * 1024
# What a message that comes in parts is given at first, and how much more when that is full: few
# copies for large ones, and never more than four times what has come.
cdef Py_ssize_t FIRST_PARTIAL = 64 * 1024
cdef Py_ssize_t PARTIAL_GROWTH = 4

# A sender has room while less than this waits on its stream, and half of the message before: so
# the next large message is made while the one before is on its way. While all streams of the
# connection together have more than QUEUED waiting (the peer reads slowly, or not at all), a stream
# has room for a SMALL_MARK only.
cdef size_t HIGH_MARK = 64 * 1024
cdef size_t LOW_MARK = 16 * 1024
cdef size_t QUEUED = 1024 * 1024
cdef size_t SMALL_MARK = 512


cdef class CompressedMessage:
    """A message that came with the compressed flag set; `data` is as it came."""

    def __init__(self, bytes data):
        self.data = data


cdef class Sink:
    """Who hears of a stream's events."""

    cdef int progress(self, Stream stream, int events) except -1:
        return 0


cdef ssize_t read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                       uint32_t *flags, nghttp2_data_source *source, void *user_data) noexcept:
    cdef Stream stream = <Stream> source.ptr
    cdef size_t size = min(length, stream.out_bytes)
    cdef Fields trailers
    if size == 0 and not stream.data_ended:
        stream.deferred = True
        return NGHTTP2_ERR_DEFERRED
    flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    stream.packed = size
    if size == stream.out_bytes and stream.data_ended:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        trailers = stream.out_trailers
        if trailers is not None:
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
            if nghttp2_submit_trailer(session, stream_id, trailers.items, trailers.count) != 0:
                return NGHTTP2_ERR_CALLBACK_FAILURE
        stream.local_ended = True
    return <ssize_t> size


@cython.freelist(256)
@cython.no_gc
cdef class Stream:
    """One stream. Made by `Connection`; belongs to the thread that drives its connection."""

    def __cinit__(self):
        self.reset_code = -1
        self.heap_index = -1
        self.deadline = 0.0
        self.max_receive_bytes = 4 * 1024 * 1024
        self.low_mark = 16 * 1024

    def __dealloc__(self):
        Py_XDECREF(self.partial)
        self.drop_output(0)

    # ------------------------------------------------------------------ events

    cdef int signal(self, int event) except -1:
        self.events |= event
        if not self.queued and self.link != NULL:
            self.queued = True
            (<list> self.link.ready).append(self)
        return 0

    def take_events(self):
        """The bits that were set since the last call, and clears them."""
        cdef int events = self.events
        self.events = 0
        return events

    # ------------------------------------------------------------------ receiving

    cdef int receive_data(self, const uint8_t *data, size_t length) except -1:
        cdef size_t size, need
        cdef Py_ssize_t capacity
        self.link.received += length
        self.uncredited += length
        if self.discarding:
            return self.give_credit(False)
        while length:
            if self.prefix_length < 5:
                size = min(<size_t> (5 - self.prefix_length), length)
                memcpy(&self.prefix[self.prefix_length], data, size)
                self.prefix_length += <int> size
                data += size
                length -= size
                if self.prefix_length < 5:
                    break
                self.begin_message()
                if self.discarding:
                    return self.give_credit(False)
            need = self.message_length - self.message_received
            if self.partial == NULL and length >= need:
                self.push_message(PyBytes_FromStringAndSize(<char *> data, <Py_ssize_t> need))
                data += need
                length -= need
                continue
            if length == 0:
                break
            size = min(need, length)
            if self.message_received + size > <size_t> self.partial_capacity:
                # Grows with what has come, never with what the prefix claims.
                capacity = max(self.partial_capacity * PARTIAL_GROWTH, FIRST_PARTIAL)
                capacity = max(capacity, <Py_ssize_t> (self.message_received + size))
                capacity = min(capacity, <Py_ssize_t> self.message_length)
                if self.partial == NULL:
                    self.partial = PyBytes_New(NULL, capacity)
                    self.begin_partial()
                else:
                    _PyBytes_Resize(&self.partial, capacity)
                self.partial_capacity = capacity
            memcpy(PyBytes_AS_STRING(<object> self.partial) + self.message_received, data, size)
            self.message_received += size
            if self.link.favoured != <PyObject *> self:
                self.link.unfinished += size
                self.link.reserved -= size
                self.reserved -= size
            data += size
            length -= size
            if self.message_received == self.message_length:
                whole = <object> self.partial
                Py_DECREF(whole)
                self.partial = NULL
                self.partial_capacity = 0
                self.release_room()
                self.push_message(whole)
        return self.give_credit(False)

    cdef int begin_message(self) except -1:
        cdef size_t length = (
            (<size_t> self.prefix[1] << 24) | (<size_t> self.prefix[2] << 16)
            | (<size_t> self.prefix[3] << 8) | <size_t> self.prefix[4]
        )
        if self.prefix[0] > 1:
            self.fail_input(
                INTERNAL,
                f"message with the unknown compressed flag {self.prefix[0]}; it is 0 or 1")
        elif length > self.max_receive_bytes:
            count_limit(self.link, MAX_RECEIVE_BYTES)
            self.fail_input(
                RESOURCE_EXHAUSTED,
                f"message of {length} bytes is over max_receive_bytes={self.max_receive_bytes}")
        self.message_length = length
        self.message_received = 0
        return 0

    cdef int push_message(self, object data) except -1:
        cdef size_t size = self.message_length + 5
        if self.prefix[0]:
            data = CompressedMessage(data)
        if self.first is None and self.taken == 0 and not self.messages:
            self.first = data
        elif self.messages is None:
            self.messages = [data]
        else:
            self.messages.append(data)
        self.received_message_bytes += self.message_length
        self.queued_bytes += size
        self.link.unread += size
        self.link.messages_received += 1
        self.prefix_length = 0
        self.message_received = 0
        return self.signal(MESSAGE)

    cdef int receive_end(self) except -1:
        if self.remote_ended:
            return 0
        self.remote_ended = True
        if self.fault is not None:
            return 0
        if self.prefix_length and not self.discarding:
            return self.fail_input(
                INTERNAL,
                f"the stream ended inside a message, after {self.message_received} bytes of it")
        return self.signal(END)

    cdef int fail_input(self, int code, str message) except -1:
        self.fault = (code, message)
        self.discarding = True
        self.prefix_length = 0
        self.drop_partial()
        self.give_credit(True)
        return self.signal(FAULT)

    cdef void drop_partial(self) noexcept:
        """Forget what has come of the message that is not whole."""
        if self.partial == NULL:
            return
        self.release_room()
        Py_XDECREF(self.partial)
        self.partial = NULL
        self.partial_capacity = 0

    # Room for messages that come in parts. Nobody can take them before they are whole, so no
    # back-pressure ends what they hold: each may fill its stream's window, and goes on from there
    # when what is missing has room too. Half of max_unread_bytes is for those that go on, the other
    # for windows that fill meanwhile. One goes on always, and counts for nothing.

    cdef void begin_partial(self) noexcept:
        """A message comes in parts: of it comes, without more credit, what the window lets."""
        self.reserved = min(self.message_length, self.window)
        self.link.reserved += self.reserved
        self.promised = self.reserved == self.message_length

    cdef bint promise_room(self) noexcept:
        """Give the message that comes in parts room for all of it; False when there is none."""
        cdef Link *link = self.link
        cdef size_t more = self.message_length - self.message_received - self.reserved
        if link.unfinished + link.reserved + more <= link.unread_limit // 2:
            self.reserved += more
            link.reserved += more
        elif link.favoured == NULL:
            link.favoured = <PyObject *> self
            link.unfinished -= self.message_received
            link.reserved -= self.reserved
            self.reserved = 0
        else:
            return False
        self.promised = True
        if self.stalled:
            self.stalled = False
            link.stalled -= 1
        return True

    cdef void release_room(self) noexcept:
        """The message that came in parts is whole, or dropped."""
        cdef Link *link = self.link
        if link.favoured == <PyObject *> self:
            link.favoured = NULL
        else:
            link.unfinished -= self.message_received
            link.reserved -= self.reserved
            self.reserved = 0
        self.promised = False
        if self.stalled:
            self.stalled = False
            link.stalled -= 1
        if link.stalled:
            link.dirty = True

    cdef int discard_input(self) except -1:
        """From here on what the peer sends is dropped; its credit goes back at once."""
        self.discarding = True
        self.first = None
        self.messages = None
        self.taken = 0
        if self.link != NULL:
            self.drop_partial()
            self.release_credit(self.queued_bytes)
            self.queued_bytes = 0
            self.give_credit(True)
        return 0

    cdef Py_ssize_t waiting_messages(self) noexcept:
        cdef Py_ssize_t count = 0 if self.first is None else 1
        if self.messages is not None:
            count += len(self.messages) - self.taken
        return count

    cdef object next_message(self):
        """The next message; call it only while waiting_messages() is not 0."""
        cdef object data = self.pop_message()
        self.return_credit()
        return data

    cdef object peek_message(self):
        """The next message, which stays; call it only while waiting_messages() is not 0."""
        return self.messages[self.taken] if self.first is None else self.first

    cdef object pop_message(self):
        """The next message, without its credit: `return_credit` follows.

        This much another thread may do, while it holds the GIL: libnghttp2 is not called here.
        """
        cdef object data = self.first
        cdef size_t size
        if data is not None:
            self.first = None
        else:
            data = self.messages[self.taken]
            self.messages[self.taken] = None
            self.taken += 1
            if self.taken == len(self.messages):
                self.messages.clear()
                self.taken = 0
            elif self.taken >= 1024:
                del self.messages[:self.taken]
                self.taken = 0
        if type(data) is bytes:
            size = PyBytes_GET_SIZE(data) + 5
        else:
            size = PyBytes_GET_SIZE((<CompressedMessage> data).data) + 5
        self.queued_bytes -= size
        if self.link != NULL:
            self.link.unread -= size
        return data

    cdef bint owes_credit(self) noexcept:
        """Whether `return_credit` may have something to do (any thread with the GIL)."""
        cdef Link *link = self.link
        cdef size_t hold = self.queued_bytes
        if link == NULL:
            return False
        if link.withheld and link.unread < link.unread_limit:
            return True
        if self.remote_ended:
            return False
        if self.prefix_length:
            if hold:
                hold += <size_t> self.prefix_length + self.message_received
            elif self.partial != NULL and not self.promised:
                return True
        return self.uncredited >= hold + link.portion

    cdef int return_credit(self) except -1:
        """Give back the credit of the messages that `pop_message` has taken."""
        if self.link != NULL:
            self.release_credit(0)
            if not self.remote_ended:
                self.give_credit(False)
        return 0

    def take_message(self):
        """The next whole message: `bytes`, or `CompressedMessage`; None when there is none now."""
        return self.next_message() if self.waiting_messages() else None

    cdef int release_credit(self, size_t size) except -1:
        cdef Link *link = self.link
        link.unread -= size
        if link.withheld and link.unread < link.unread_limit:
            nghttp2_session_consume_connection(link.session, link.withheld)
            link.withheld = 0
            link.dirty = True
        return 0

    cdef int give_credit(self, bint force) except -1:
        """Give stream credit back for what the application has taken.

        What has come of the message that is being put together is credited too while nothing else
        waits: the application cannot take it before it is whole, and it may be longer than the
        window. So at most a window of whole messages and a part of one are held. A message that the
        connection has no room for now waits for its turn (`Connection.make_room`).
        """
        cdef size_t hold = self.queued_bytes
        if self.link == NULL:
            return 0
        if self.prefix_length:
            if hold:
                hold += <size_t> self.prefix_length + self.message_received
            elif self.partial != NULL and not (self.promised or self.promise_room()):
                hold = <size_t> self.prefix_length + self.message_received
                if not self.stalled:
                    self.stalled = True
                    self.link.stalled += 1
        if self.uncredited <= hold or self.remote_ended:
            return 0
        cdef size_t size = self.uncredited - hold
        if size < self.link.portion and not force:
            return 0
        self.uncredited = hold
        nghttp2_session_consume_stream(self.link.session, self.id, size)
        self.link.dirty = True
        if hold == 0 and self.window < self.link.estimate and not self.discarding:
            self.window = self.link.estimate
            nghttp2_session_set_local_window_size(
                self.link.session, 0, self.id, <int32_t> self.window)
        return 0

    # ------------------------------------------------------------------ sending

    cdef int submit_head(self, Fields fields, Fields extra, bint end) except -1:
        """Send the response head (server). `end`: it is all there is (Trailers-Only)."""
        cdef nghttp2_data_provider provider
        cdef nghttp2_nv *items = fields.items
        cdef Py_ssize_t count = fields.count
        cdef nghttp2_nv *both = NULL
        cdef int rv
        if self.link == NULL:
            return 0
        if self.opened:
            raise RuntimeError(f"stream {self.id}: a head was sent already")
        if extra is not None and extra.count:
            both = <nghttp2_nv *> malloc((count + extra.count) * sizeof(nghttp2_nv))
            if both == NULL:
                raise MemoryError()
            memcpy(both, items, count * sizeof(nghttp2_nv))
            memcpy(&both[count], extra.items, extra.count * sizeof(nghttp2_nv))
            items = both
            count += extra.count
        self.kept_head = fields
        self.kept_extra = extra
        provider.source.ptr = <void *> self
        provider.read_callback = read_data
        rv = nghttp2_submit_response(
            self.link.session, self.id, items, count, NULL if end else &provider)
        free(both)
        if rv != 0:
            raise RuntimeError(f"stream {self.id}: the head could not be submitted ({rv})")
        self.opened = True
        self.link.dirty = True
        if end:
            self.data_ended = True
            self.local_ended = True
        return 0

    cdef int append_message(self, bytes data, bint compressed) except -1:
        """Queue one message; it is dropped when the stream is closed or was ended."""
        cdef uint8_t prefix[5]
        cdef size_t length = PyBytes_GET_SIZE(data)
        if self.link == NULL or self.data_ended:
            return 0
        if length > 0xffffffff:
            raise ValueError(f"message of {length} bytes; gRPC frames at most 4294967295")
        prefix[0] = compressed
        prefix[1] = <uint8_t> (length >> 24)
        prefix[2] = <uint8_t> (length >> 16)
        prefix[3] = <uint8_t> (length >> 8)
        prefix[4] = <uint8_t> length
        self.last_size = length
        self.sent_message_bytes += length
        self.make_room(5 + (length if length <= COPY_LIMIT else 0))
        self.append_copy(prefix, 5)
        if length <= COPY_LIMIT:
            self.append_copy(<uint8_t *> PyBytes_AS_STRING(data), length)
        else:
            self.append_reference(data)
        self.out_last.messages += 1
        return self.resume()

    cdef int make_room(self, size_t length) except -1:
        """Have so many bytes fit into the last segment."""
        cdef Segment *last = self.out_last
        cdef size_t capacity = length
        if last != NULL and last.owner == NULL and last.capacity - last.length >= length:
            return 0
        if self.link == NULL or self.link.queued <= QUEUED:
            # The first segment of a stream is small (a unary message and its prefix); a stream
            # of messages fills larger ones, up to a frame's size. In a crowd there is none to
            # follow soon.
            capacity = 128 if last == NULL else min(
                SEGMENT_SIZE, max(<size_t> 1024, 4 * last.capacity))
            capacity = max(length, capacity)
        last = <Segment *> malloc(sizeof(Segment) + capacity)
        if last == NULL:
            raise MemoryError()
        last.owner = NULL
        last.data = <uint8_t *> last + sizeof(Segment)
        last.capacity = capacity
        last.length = last.offset = 0
        last.messages = 0
        last.next = NULL
        if self.out_last == NULL:
            self.out_first = last
        else:
            self.out_last.next = last
        self.out_last = last
        return 0

    cdef int append_copy(self, const uint8_t *data, size_t length) except -1:
        cdef Segment *last
        self.make_room(length)
        last = self.out_last
        memcpy(<uint8_t *> last.data + last.length, data, length)
        last.length += length
        self.out_bytes += length
        self.link.queued += length
        return 0

    cdef int append_reference(self, bytes data) except -1:
        cdef Segment *last = <Segment *> malloc(sizeof(Segment))
        if last == NULL:
            raise MemoryError()
        Py_INCREF(data)
        last.owner = <PyObject *> data
        last.data = <uint8_t *> PyBytes_AS_STRING(data)
        last.length = last.capacity = PyBytes_GET_SIZE(data)
        last.offset = 0
        last.messages = 0
        last.next = NULL
        if self.out_last == NULL:
            self.out_first = last
        else:
            self.out_last.next = last
        self.out_last = last
        self.out_bytes += last.length
        self.link.queued += last.length
        return 0

    cdef void copy_output(self, uint8_t *target, size_t length) noexcept:
        """Move `length` bytes of what waits to `target` (called while a DATA frame is written)."""
        cdef Segment *first
        cdef size_t size
        self.out_bytes -= length
        self.packed = 0
        self.frames_sent += 1
        if self.link != NULL:
            self.link.queued -= length
        while length:
            first = self.out_first
            size = min(length, first.length - first.offset)
            memcpy(target, first.data + first.offset, size)
            first.offset += size
            target += size
            length -= size
            if first.offset == first.length:
                self.out_first = first.next
                if self.out_first == NULL:
                    self.out_last = NULL
                if self.link != NULL:
                    self.link.messages_sent += first.messages
                Py_XDECREF(first.owner)
                free(first)

    cdef void drop_output(self, size_t keep) noexcept:
        cdef Segment **link = &self.out_first
        cdef Segment *segment
        cdef size_t left = keep
        self.out_last = NULL
        if self.link != NULL:
            self.link.queued -= self.out_bytes - keep
        self.out_bytes = keep
        while left:
            segment = link[0]
            self.out_last = segment
            if segment.length - segment.offset > left:
                segment.length = segment.offset + left
                segment.messages = 0
            left -= segment.length - segment.offset
            segment.capacity = segment.length
            link = &segment.next
        while link[0] != NULL:
            segment = link[0]
            link[0] = segment.next
            Py_XDECREF(segment.owner)
            free(segment)

    cdef bint has_room(self) noexcept:
        """Whether a sender may queue more; if not, WRITABLE will tell when."""
        cdef bint crowded = self.link != NULL and self.link.queued > QUEUED
        if self.out_bytes < (SMALL_MARK if crowded else HIGH_MARK + self.last_size // 2):
            return True
        # The last of what waits is the peer's to take before this stream goes on in a crowd.
        self.low_mark = 0 if crowded else LOW_MARK + self.last_size // 2
        self.wants_writable = True
        return False

    cdef int adopt_output(self, Stream other) except -1:
        """Take over what waited to be sent on a stream that was closed UNSENT."""
        self.out_first, other.out_first = other.out_first, NULL
        self.out_last, other.out_last = other.out_last, NULL
        self.out_bytes, other.out_bytes = other.out_bytes, 0
        self.link.queued += self.out_bytes
        self.sent_message_bytes, other.sent_message_bytes = other.sent_message_bytes, 0
        return self.resume()

    cdef int resume(self) except -1:
        self.link.dirty = True
        if self.deferred:
            self.deferred = False
            nghttp2_session_resume_data(self.link.session, self.id)
        return 0

    cdef int end_data(self, Fields trailers, Fields extra) except -1:
        """Half-close after what is queued: with trailers (server), or with END_STREAM (client)."""
        cdef Fields both
        if self.link == NULL or self.data_ended:
            return 0
        self.data_ended = True
        if trailers is not None:
            if extra is not None and extra.count:
                both = Fields()
                both.extend(trailers)
                both.extend(extra)
                trailers = both
            self.out_trailers = trailers
            if self.opened and self.out_bytes == 0:
                # Nothing is left to send before them: no empty DATA frame.
                self.local_ended = True
                self.link.dirty = True
                if nghttp2_submit_trailer(
                        self.link.session, self.id, trailers.items, trailers.count) != 0:
                    raise MemoryError()
                return 0
        return self.resume()

    cdef int reset(self, uint32_t code) except -1:
        """RST_STREAM now; what was queued is dropped."""
        if self.link == NULL:
            return 0
        self.discard_input()
        return self.stop_sending(code)

    cdef int stop_sending(self, uint32_t code) except -1:
        """RST_STREAM now; what was queued is dropped, what came stays to be taken."""
        if self.link == NULL:
            return 0
        # A frame that is made already waits for room in the output; its bytes must still be there.
        self.drop_output(self.packed)
        self.data_ended = True
        self.local_ended = True
        self.submit_reset(code)
        return 0

    cdef void submit_reset(self, uint32_t code) noexcept:
        """RST_STREAM, once. libnghttp2 drops a request that still waits when it is reset; a second
        reset would go out, for a stream that the peer has never seen, and end the connection."""
        if not self.reset_submitted:
            self.reset_submitted = True
            self.link.dirty = True
            nghttp2_submit_rst_stream(self.link.session, 0, self.id, code)

    cdef int close(self, int64_t code) except -1:
        """The stream is over (called by the connection):
        `code` is HTTP/2's, or -2 for a lost connection."""
        if self.link == NULL:
            return 0
        self.reset_code = code
        self.drop_partial()
        self.release_credit(self.queued_bytes)
        self.queued_bytes = 0
        if not self.events & UNSENT:
            self.drop_output(0)
        self.link.queued -= self.out_bytes
        self.signal(CLOSED)
        self.link = NULL
        return 0

    cdef Py_ssize_t peer_header_limit(self) noexcept:
        """The header list the peer takes, in bytes (RFC 9113 6.5.2)."""
        if self.link == NULL:
            return 0
        return <Py_ssize_t> nghttp2_session_get_remote_settings(
            self.link.session, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE)

    # The same, for Python: tests and tools drive the core with these.

    def send_head(self, Fields fields not None, Fields extra=None, *, bint end=False):
        """Send the response head (server side); `end`: nothing follows it (Trailers-Only)."""
        self.submit_head(fields, extra, end)

    def send_message(self, bytes data not None, *, bint compressed=False):
        """Queue one message."""
        self.append_message(data, compressed)

    def finish(self, Fields trailers=None, Fields extra=None):
        """Half-close after what is queued, with trailers (server) or without (client)."""
        self.end_data(trailers, extra)

    def cancel(self, uint32_t code=8):
        """RST_STREAM with that HTTP/2 error code (8: CANCEL); what was queued is dropped."""
        self.reset(code)

    def discard(self):
        """Drop what comes from now on."""
        self.discard_input()

    def notify_writable(self, size_t low_mark=16 * 1024):
        """Ask for one WRITABLE event when what waits falls to `low_mark` bytes or fewer."""
        self.low_mark = low_mark
        self.wants_writable = True

    @property
    def closed(self):
        """Whether the stream is over in both directions."""
        return self.link == NULL

    def __repr__(self):
        state = "closed" if self.link == NULL else "open"
        return f"<Stream {self.id} {state}>"
