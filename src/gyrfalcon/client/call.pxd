from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from .._core.stream cimport Sink, Stream
from ..transport.clock cimport Clock
from ..transport.interception cimport Interception, Interceptors
from ..transport.propagation cimport Nested
from ..transport.upkeep cimport KeptDriver
from ..transport.waiting cimport Operation
from ..wire.grpc cimport Outcome, RequestTemplate


cdef enum Step:
    RESULT = 1          # the one reply
    RECEIVE = 2         # the next reply, None after the last
    ITERATE = 3         # the next reply, StopAsyncIteration after the last
    SEND = 4            # room for one more request
    DONE_SENDING = 5    # the half-close
    INITIAL = 6         # the initial metadata
    STATUS = 7          # the end
    START = 8           # the way to a connection
    SEND_PLAIN = 9      # as SEND, for a request that is not to be compressed


cdef class ClientDriver(KeptDriver):
    cdef object owner               # the subchannel
    cdef bint announced
    cdef readonly bint speaks_tls   # the server answered with TLS's alert
    cdef bint usable                # READY, and takes new streams
    cdef uint64_t calls_succeeded

    cdef int note_goaway(self) except -1


cdef class CallPlace:
    cdef readonly object loop
    cdef readonly Clock clock
    cdef unsigned long thread
    cdef ClientDriver direct        # where every call goes, while that is so
    cdef readonly bint closed
    cdef double default_timeout     # seconds, below zero: none
    cdef size_t max_receive_bytes
    cdef Py_ssize_t max_send_bytes  # below zero: no limit
    cdef object compression
    cdef readonly object target_name
    cdef uint64_t calls_started
    cdef uint64_t calls_succeeded
    cdef uint64_t calls_failed
    cdef readonly Interceptors interceptors
    cdef readonly object credentials    # of the calls that have none of their own
    cdef tuple propagate            # keys of metadata that go along with nested calls
    cdef readonly dict limits_met   # where there was no connection, or it is gone: name to count

    cdef int bind(self) except -1


cdef class CallLink(Sink):
    cdef PyObject *call


cdef class Call(Nested):
    cdef readonly CallPlace channel
    cdef CallLink link
    cdef ClientDriver driver
    cdef RequestTemplate template
    cdef object rpc_method          # rpc.Method
    cdef object decode
    cdef object encode
    cdef bint client_streaming
    cdef bint server_streaming
    cdef bint wait_for_ready
    cdef double expiry              # on the monotonic clock; 0: none
    cdef object request_metadata
    cdef object request             # of a call with one request, packed; kept until it is committed
    cdef Stream unsent              # an attempt of which nothing was sent
    cdef bint half_closed           # no more requests will be sent
    cdef int attempts
    cdef Outcome outcome            # how the call ended
    cdef object local_error         # what the source of requests raised
    cdef object callbacks
    cdef object waiting_timer       # of a call that waits for a connection
    cdef object pump
    cdef object initial
    cdef object trailing
    cdef object pick_done
    cdef bint reply_taken
    cdef bint came_compressed       # the reply that was taken last
    cdef bint waits_for_connection
    cdef bint given_up              # cancelled here, or past its deadline
    cdef Interceptors interceptors  # the channel's, and what authorizes the call
    cdef Interception interception
    cdef list kept                  # replies that have passed the interceptors, the last first

    cdef int launch(self) except -1
    cdef int open(self, ClientDriver driver) except -1
    cdef int end(self, int code, str message, bint reset) except -1
    cdef int finished(self) except -1
    cdef bint retry(self, int events) except -1
    cdef object error(self)
    cdef object read_initial(self)
    cdef object read_trailing(self)
    cdef object read_status(self)
    cdef int let_go(self) except -1
    cdef int leave_interception(self) except -1
    cdef int watch_deadline(self) except -1
    cdef int leave_stream(self) except -1
    cdef int fail_with(self, object error) except -1
    cdef object packed(self, object request)
    cdef bint has_reply(self) noexcept
    cdef object compression_of_replies(self)
    cdef object decode_reply(self)
    cdef object next_reply(self)
    cdef object only_reply(self)
    cdef int check_cardinality(self) except -1
    cdef int put(self, object message) except -1
    cdef int step_to_send(self, object compress) except -1
    cdef Operation step_of(self, int kind)
    cdef bint wake_thread(self) except -1


cdef object initial_of_stream(Stream stream)
cdef object trailing_of_stream(Stream stream)
