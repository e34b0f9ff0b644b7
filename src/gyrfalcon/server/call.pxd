from libc.stdint cimport uint64_t

from .._core.stream cimport Stream
from ..transport.upkeep cimport KeptDriver
from ..transport.interception cimport Interception, Interceptors
from ..transport.propagation cimport CallScope
from ..transport.waiting cimport Operation, Waiting
from .pool cimport Job


# ServerContext.state
cdef enum State:
    NEW = 0         # the head is here, what the handler needs not yet
    WAITING = 1     # in the queue of its connection, or of the threads
    RUNNING = 2
    OVER = 3


# What is waited for: Operation.kind
cdef enum Step:
    REQUEST = 1     # the next request message, or the end of them
    DRAINED = 2     # less than the high mark waits to be sent
    RETURNED = 3    # a `def` handler has returned; the payload is its Job


cdef class Handler:
    """One method of a service that is served, with all that a call of it needs."""
    cdef readonly object method
    cdef readonly str path
    cdef readonly object function
    cdef readonly bint client_streaming
    cdef readonly bint server_streaming
    cdef readonly bint threaded
    cdef object decode
    cdef object encode
    cdef dict codecs

    cdef tuple coders(self, str subtype)


cdef class CallHost(KeptDriver):
    cdef Py_ssize_t running
    cdef uint64_t calls_started
    cdef uint64_t calls_succeeded
    cdef Py_ssize_t max_send_bytes      # below zero: no limit
    cdef bint access_log
    cdef Interceptors interceptors
    cdef object run_in_thread(self, ServerContext call, object request)
    cdef int call_over(self) except -1

    cdef int start(self, ServerContext call) except -1
    cdef int cancel(self, ServerContext call) except -1


cdef class ServerContext(Waiting):
    cdef CallHost host
    cdef Handler handler
    cdef object decode
    cdef object encode
    cdef object context             # contextvars.Context of interceptors and handler
    cdef object coroutine
    cdef object worker
    cdef Job job                    # in a thread: a `def` handler
    cdef bint context_lent          # its thread has entered the context
    cdef object handed_on           # what a `def` handler returned for the loop to await
    cdef int state
    cdef bint gone                  # nobody hears an answer any more
    cdef double expiry              # on the monotonic clock; 0: none
    cdef object request_metadata
    cdef object reply_metadata
    cdef double began               # on the monotonic clock; 0: nobody asks
    cdef size_t max_receive_bytes
    cdef bint packed                # a reply was made in a `def` handler's thread
    cdef CallScope scope            # of the calls that are made while this one is served
    cdef Interception interception
    cdef object sent_initial        # Metadata

    cdef int begin(self) except -1
    cdef int open_scope(self) except -1
    cdef int end_scope(self) except -1
    cdef object start_handler(self, object request)
    cdef object finish_handed_on(self, object handed_on)
    cdef object request_stream(self)
    cdef int write_packed(self, object message) except -1
    cdef object hook_reply(self, object message)
    cdef int complete(self, object reply) except -1
    cdef int conclude(self, bytes data) except -1
    cdef int fail(self, object error) except -1
    cdef int retire(self) except -1
    cdef int give_up_stalled(self) except -1
    cdef int note_end(self) except -1
    cdef int tell_refused(self) except -1
    cdef str called_path(self)
    cdef int answer(self, int code, str message, object metadata, bytes details) except -1
    cdef object decode_request(self, object data)
    cdef object next_request(self)
    cdef int write(self, object message) except -1
    cdef bint has_requests(self) noexcept
    cdef bint opens_request(self) except -1
    cdef int try_start(self) except -1
    cdef object failure(self)


cdef class RequestStream:
    cdef ServerContext call


cdef object encode_reply(ServerContext call, object message)
cdef bytes encode_error_details(ServerContext call, error)
cdef object pack_reply(ServerContext call, object message)
cdef object compression_failed(ServerContext call, error)
cdef object negotiate(ServerContext call, object compression)

cdef extern from "Python.h":
    object PyContext_Copy(object context)
