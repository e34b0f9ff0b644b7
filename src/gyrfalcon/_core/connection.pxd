from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from .fields cimport Fields
from .gate cimport Gate
from .nghttp2 cimport nghttp2_session
from .past cimport Past
from .stream cimport Link, Stream


cdef class Connection:
    cdef nghttp2_session *session
    cdef Link link
    cdef readonly bint is_server
    cdef list ready
    cdef PyObject *first_stream
    cdef PyObject *header_stream        # whose header block is coming, or NULL
    cdef readonly Py_ssize_t open_streams
    cdef readonly size_t max_header_bytes
    cdef readonly size_t max_receive_bytes
    cdef readonly uint32_t max_concurrent_streams

    # output
    cdef uint8_t *out               # where output is put: `small`, or inside `large`
    cdef uint8_t *small
    cdef PyObject *large            # a bytes object in the making
    cdef size_t out_length
    cdef size_t out_capacity
    cdef size_t out_limit

    # connection state
    cdef readonly bint closed
    cdef readonly bint settings_received
    cdef readonly bint goaway_received
    cdef readonly uint32_t goaway_code
    cdef readonly bytes goaway_data
    cdef readonly bint draining
    cdef readonly str failure
    cdef readonly bytes drain_ping
    cdef readonly bint drain_ready
    cdef readonly uint64_t pings_acknowledged
    cdef readonly uint64_t pings_received       # without acknowledgements
    cdef bint answered              # HEADERS or DATA were sent (the driver clears it)
    cdef bytes drain_data           # the debug data of the GOAWAYs of `drain`
    cdef readonly uint32_t blocks_begun         # header blocks
    cdef object callback_error
    cdef str library_message
    cdef uint32_t own_goaway_code
    cdef int32_t goaway_last        # new streams, above it, are refused; below zero: none are
    cdef bint limit_announced       # the first SETTINGS went out

    # streams over max_concurrent_streams
    cdef readonly uint64_t refused_streams
    cdef Py_ssize_t refusals_waiting    # RST_STREAM frames that are not sent yet
    cdef bint flooded               # there were too many of those

    cdef Past past                  # server: streams that are over
    # by what the streams' windows grow
    cdef size_t most_window
    cdef size_t sample              # bytes of DATA since the last look, or since its PING
    cdef size_t sample_after        # how many of them the next look comes after
    cdef bint sampling              # its PING is not answered yet

    # what a peer may do only so often
    cdef Gate gate
    cdef readonly str limit         # the name of the limit that ended this connection
    cdef bint hung_up               # the GOAWAY that says so went out

    # deadlines: a binary heap of streams
    cdef PyObject **heap
    cdef Py_ssize_t heap_length
    cdef Py_ssize_t heap_capacity

    cdef Py_ssize_t receive_bytes(self, const uint8_t *data, size_t length) except -1
    cdef Py_ssize_t receive_held(self, const uint8_t *data, size_t length) except -1
    cdef Py_ssize_t pass_on(self, const uint8_t *data, size_t length) except -1
    cdef int feed(self, const uint8_t *data, size_t length) except -1
    cdef int decide(self, const uint8_t *frame) except -1
    cdef int answer_late(self, uint8_t kind, int32_t stream_id, uint32_t code) except -1
    cdef bint is_idle(self, uint32_t stream_id) noexcept
    cdef int begin_chopped(self, const uint8_t *frame, size_t size) except -1
    cdef int feed_chopped(self) except -1
    cdef int give_back_credit(self) except -1
    cdef bint is_overdrawn(self) noexcept
    cdef int settle(self, double now) except -1
    cdef int fail_limit(self, str name, str detail) except -1
    cdef list take_ready_streams(self)
    cdef bytes take_output_bytes(self, size_t limit)
    cdef int fill_output(self, size_t limit) except -1
    cdef Stream open_stream(self, Fields fields, Fields extra)
    cdef int append_output(self, const uint8_t *data, size_t length) except -1
    cdef int reserve_output(self, size_t length) except -1
    cdef int announce_limit(self, const uint8_t *data, size_t length) except -1
    cdef int refuse(self, int32_t stream_id) noexcept
    cdef int refuse_stream(self, Stream stream) except -1
    cdef int sample_window(self, size_t came) except -1
    cdef void end_sample(self) noexcept
    cdef int give_up(self, uint32_t code, bytes data, str reason) except -1
    cdef int end_lingering(self) except -1
    cdef int make_room(self) except -1
    cdef int append_goaway(self, const uint8_t *data, size_t length) except -1
    cdef double find_stalled(self, double now, double patience) except -1
    cdef int give_up_newest(self) except -1
    cdef int end_stream(self, Stream stream, int64_t code) except -1
    cdef int give_up_unsent(self) except -1
    cdef int release_streams(self, int64_t code) except -1
    cdef void link_stream(self, Stream stream) noexcept
    cdef void unlink_stream(self, Stream stream) noexcept
    cdef int arm(self, Stream stream, double deadline) except -1
    cdef void disarm(self, Stream stream) noexcept
    cdef void sift_up(self, Py_ssize_t index) noexcept
    cdef void sift_down(self, Py_ssize_t index) noexcept
