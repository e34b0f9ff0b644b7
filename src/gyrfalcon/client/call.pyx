"""One call on the client: what a method of a stub returns.

A call begins when it is made, not when it is awaited, and needs no task: the connection's events
drive it, and who awaits a step of it is woken when that step is done. A call that nobody holds any
more is cancelled.
"""
import asyncio
import logging
from asyncio import events as asyncio_events

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from .._core.connection cimport Connection
from .._core.stream cimport (
    CLOSED,
    DEADLINE,
    END,
    FAULT,
    HEAD,
    STALLED,
    UNSENT,
    CompressedMessage,
    Sink,
    Stream,
)
from ..transport.blocking cimport SharedLoop, ThreadParking
from ..transport.clock cimport Clock
from ..transport.interception cimport Interception, Interceptors
from ..transport.propagation cimport CallScope, channel_made, current_scope, has_servers
from ..transport.upkeep cimport KeptDriver, Rules
from ..transport.waiting cimport Operation, take_inflated
from ..wire.inflation cimport Inflation, begin_inflation
from ..wire.grpc cimport (
    Outcome,
    RequestTemplate,
    compress_message,
    decode_metadata,
    open_request,
    read_compression,
    read_outcome,
)

from ..rpc.compression import COMPRESSIONS
from ..rpc.errors import ResourceExhausted, RpcError, from_status
from ..rpc.metadata import Metadata, pairs
from ..rpc.stats import CallStats
from ..rpc.status import Status, StatusCode

log = logging.getLogger("gyrfalcon.client")

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()

cdef object get_running_loop = asyncio_events._get_running_loop

cdef int LOST = -2          # Stream.reset_code
cdef uint32_t NO_ERROR = 0
cdef uint32_t REFUSED_STREAM = 7
cdef uint32_t CANCEL = 8
cdef uint32_t ENHANCE_YOUR_CALM = 11

cdef enum Code:
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14

cdef class ClientDriver(KeptDriver):
    """The client's side of one connection. `owner` is told of its beginning and end."""

    def __init__(self, Connection connection not None, loop, owner, clock=None,
                 Rules rules=None):
        KeptDriver.__init__(self, connection, loop, clock, rules)
        self.owner = owner

    cdef int received(self) except -1:
        if not self.announced:
            # An alert (RFC 8446 6): no frame of HTTP/2 begins like that here.
            self.speaks_tls |= self.buffer_data[0] == 0x15 and self.buffer_data[1] == 0x03
            if self.connection.settings_received:
                self.announced = True
                self.usable = True
                self.begin_keepalive()
                self.owner.handshake_done(self)
        return self.note_goaway()

    cdef int note_goaway(self) except -1:
        if self.connection.goaway_received and self.usable:
            self.usable = False
            if (self.connection.goaway_code == ENHANCE_YOUR_CALM
                    and self.connection.goaway_data == b"too_many_pings"):
                self.owner.told_to_calm(self)
            self.owner.connection_draining(self)
        return 0

    cdef int ended(self, object error) except -1:
        self.usable = False
        self.owner.connection_lost(self, error)
        return 0

    def call_stats(self):
        """The calls on this connection, as rpc.stats.CallStats. Any thread."""
        started = self.connection.streams_started
        running = self.connection.open_streams
        return CallStats(
            started, self.calls_succeeded, max(started - self.calls_succeeded - running, 0),
            self.clock.wall_time(self.stream_at))

    @property
    def has_room(self):
        """Whether the server takes one more call now (its SETTINGS_MAX_CONCURRENT_STREAMS)."""
        return self.connection.open_streams < self.connection.peer_max_concurrent_streams

    @property
    def takes_calls(self):
        """Whether new calls may be opened here."""
        return self.usable

    def cancel_calls(self):
        """End every call that runs with CANCELLED, then close."""
        if self.lost:
            return
        for stream in self.connection.streams():
            link = (<Stream> stream).sink
            if isinstance(link, CallLink) and (<CallLink> link).call != NULL:
                call = <Call> (<CallLink> link).call
                (<Call> call).end(CANCELLED, "the channel was closed", True)
            else:
                (<Stream> stream).reset(CANCEL)
        self.connection.goaway()
        self.flush_now()

    def retire(self):
        """Take no new calls on; the connection closes with its last call."""
        self.usable = False
        if not self.lost:
            self.connection.goaway()
            self.changed()


cdef class CallPlace:
    """A channel, as its calls see it: the settings they begin with and where they go.

    The part of `Channel` that every call goes through.
    """

    def __init__(self, *, target_name, double default_timeout, size_t max_receive_bytes,
                 Py_ssize_t max_send_bytes, compression, Clock clock not None,
                 Interceptors interceptors=None, tuple propagate=None, credentials=None):
        self.clock = clock
        channel_made()
        self.target_name = target_name
        self.default_timeout = default_timeout
        self.max_receive_bytes = max_receive_bytes
        self.max_send_bytes = max_send_bytes
        self.compression = compression
        self.interceptors = interceptors
        self.propagate = propagate
        self.credentials = credentials
        self.limits_met = {}

    def count_limit(self, name):
        """Count that a limit (rpc.limits) was met once more, elsewhere than on a connection."""
        self.limits_met[name] = self.limits_met.get(name, 0) + 1

    def set_direct(self, ClientDriver driver):
        """Send calls there without asking a picker; None: ask."""
        self.direct = driver

    def set_closed(self):
        """No more calls."""
        self.closed = True
        self.direct = None

    cdef int bind(self) except -1:
        loop = get_running_loop()
        if loop is self.loop and loop is not None:
            return 0
        if loop is None:
            raise RuntimeError(
                f"{self!r} was used without a running event loop; use it inside a coroutine")
        if self.loop is not None:
            raise RuntimeError(
                f"{self!r} belongs to another event loop; make a channel for each loop")
        self.loop = loop
        # A shared loop has no thread of its own.
        self.thread = 0 if isinstance(loop, SharedLoop) else PyThread_get_thread_ident()
        return 0

    def call_stats(self):
        """The calls of the channel, as rpc.stats.CallStats; it does not know when the last one
        began. Any thread."""
        return CallStats(self.calls_started, self.calls_succeeded, self.calls_failed)

    def bind_loop(self):
        """Tie the channel to the running loop.
        RuntimeError when it has another or there is none."""
        self.bind()

    def codec_for(self, method):
        """The codec of a method's messages on this channel."""
        return method.codec

    def authorize(self, credentials):
        """The interceptors of a call with these credentials (the channel makes them)."""
        raise AssertionError("a channel authorizes calls")

    def place(self, Call call):
        """Find a connection for a call that has no direct one (the channel does)."""
        raise AssertionError("a channel places calls")


cdef class CallLink(Sink):
    """What a stream knows of its call: not enough to keep it alive."""

    cdef int progress(self, Stream stream, int events) except -1:
        if events & CLOSED:
            stream.sink = None
        cdef Call call
        if self.call == NULL:
            return 0
        # Held: a task that goes on in here may drop the last other reference.
        call = <Call> self.call
        return call.progress(stream, events)


# Not cleared by the garbage collector, which would take the link away before __dealloc__ cuts it; a
# cycle through a call goes through a list, a task or a frame as well, and is broken there.
@cython.no_gc_clear
cdef class Call(Nested):
    """One call. It belongs to the loop of its channel.

    Await it for the reply, or iterate it for the replies, as its pattern has it. Cancelling the
    task that waits for a reply cancels the call.
    """

    def __dealloc__(self):
        self.let_go()

    cdef int let_go(self) except -1:
        """Nothing that knows the call by a pointer finds it any more."""
        if self.link is not None:
            self.link.call = NULL
        if self.interception is not None:
            self.interception.owner = NULL
        if self.scope is not None:
            self.scope.remove(self)
        return 0

    def __class_getitem__(cls, item):
        return cls

    def __del__(self):
        if self.outcome is None and self.channel is not None and not self.channel.loop.is_closed():
            if PyThread_get_thread_ident() == self.channel.thread:
                self.end(CANCELLED, "nobody waits for the call any more", True)
            elif self.stream is not None or self.interception is not None:
                self.channel.loop.call_soon_threadsafe(self.cancel)

    # ------------------------------------------------------------------ what callers use

    @property
    def method(self):
        """What is called, "/package.Service/Method"."""
        return self.rpc_method.path

    @property
    def peer(self):
        """The server's address, as in ServerContext.peer; None before the call has a connection."""
        return None if self.driver is None else self.driver.peer_name

    @property
    def deadline(self):
        """When the call must be done, in seconds on time.monotonic()'s clock (the clock of the
        channel's network, if it has another), or None."""
        return self.expiry if self.expiry else None

    @property
    def reply_compressed(self):
        """Whether the reply that was taken last came compressed; False before the first."""
        return self.came_compressed

    def time_remaining(self):
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return max(self.expiry - self.channel.clock.now(), 0.0) if self.expiry else None

    def cancel(self):
        """Cancel the call: the server is told, whoever waits gets Cancelled.
        False if it is over."""
        if self.outcome is not None:
            return False
        self.end(CANCELLED, "the call was cancelled by its caller", True)
        return True

    def done(self):
        """Whether the call is over."""
        return self.outcome is not None

    def cancelled(self):
        """Whether the call is over because it was cancelled."""
        return self.outcome is not None and self.outcome.code == CANCELLED

    def add_done_callback(self, callback):
        """Have `callback(call)` called, by the loop, when the call is over."""
        if self.outcome is not None:
            self.loop.call_soon(callback, self)
            return
        if self.callbacks is None:
            self.callbacks = []
            self.channel.hold(self)
        self.callbacks.append(callback)

    def initial_metadata(self):
        """Await it: the Metadata that came with the response head. Raises the call's RpcError when
        the call ended without one."""
        return self.operation(INITIAL, None)

    async def trailing_metadata(self):
        """The Metadata that came with the status, when the call is over."""
        if self.outcome is None:
            await self.step_of(STATUS)
        return self.read_trailing()

    async def status(self):
        """The Status of the call, when it is over. Never raises an RpcError."""
        if self.outcome is None:
            await self.step_of(STATUS)
        return self.read_status()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        if self.outcome is None:
            self.end(CANCELLED, "the caller left the block of the call", True)
        if self.pump is not None and not self.pump.done():
            await asyncio.wait([self.pump])

    # ------------------------------------------------------------------ how a call begins

    cdef int launch(self) except -1:
        """Go to a connection, or wait for one."""
        cdef ClientDriver driver = self.channel.direct
        if self.scope is not None and self.scope.code:
            return self.end(self.scope.code, self.scope.message, False)
        if self.interception is not None:
            self.interception.attempt_begins()
        if driver is not None and driver.usable:
            return self.open(driver)
        self.watch_deadline()
        self.waits_for_connection = True
        self.channel.place(self)
        return 0

    cdef int watch_deadline(self) except -1:
        """End the call at its deadline while it has no stream."""
        if self.expiry and self.waiting_timer is None:
            self.waiting_timer = self.channel.clock.call_at(
                self.loop, self.expiry, self._on_waiting_deadline)
        return 0

    def _on_waiting_deadline(self):
        """The deadline passed while there was no stream."""
        self.waiting_timer = None
        if self.outcome is None:
            reason = " for an interceptor"
            if self.waits_for_connection:
                reason = f": {self.channel.waiting_reason()}"
            self.channel.count_limit("timeout")
            self.end(DEADLINE_EXCEEDED, f"the deadline passed while the call waited{reason}",
                     False)

    cdef int scope_ended(self, int code, str message) except -1:
        if PyThread_get_thread_ident() == self.channel.thread:
            return self.end(code, message, True)
        try:
            self.loop.call_soon_threadsafe(self._end_nested, code, message)
        except RuntimeError:
            log.debug("%r: its loop is closed", self)
        return 0

    def _end_nested(self, int code, str message):
        """The call that was served while this one was made is over (loop thread)."""
        self.end(code, message, True)

    cdef int open(self, ClientDriver driver) except -1:
        cdef Stream stream
        cdef double remaining = -1
        cdef CallLink link
        if self.waiting_timer is not None:
            self.waiting_timer.cancel()
            self.waiting_timer = None
        if self.expiry:
            remaining = self.expiry - self.channel.clock.now()
            if remaining <= 0:
                return self.end(
                    DEADLINE_EXCEEDED, "the deadline passed before the call was sent", False)
        try:
            stream = open_request(
                driver.connection, self.template, remaining, self.request_metadata,
                self.own_compression,
                self.attempts if self.interception is None
                else self.attempts + self.interception.attempt)
        except RpcError as error:
            return self.end(int(error.code), error.message, False)
        self.waits_for_connection = False
        self.driver = driver
        self.io = driver
        self.stream = stream
        link = CallLink.__new__(CallLink)
        link.call = <PyObject *> self
        self.link = link
        stream.sink = link
        stream.max_receive_bytes = self.channel.max_receive_bytes
        if self.expiry:
            driver.set_deadline(stream, self.expiry)
        if self.unsent is not None:
            stream.adopt_output(self.unsent)
            self.unsent = None
        elif self.request is not None:
            self.put(self.request)
        elif self.interception is not None:
            self.interception.resend()
        if self.half_closed:
            stream.end_data(None, None)
        driver.changed()
        if self.operations:
            self.wake()
        return 0

    def _open_on(self, ClientDriver driver, done=None):
        """Go to this connection (the channel has picked it)."""
        self.pick_done = done
        if self.outcome is None:
            self.open(driver)

    def _fail(self, int code, str message):
        """End before there was a connection (the channel has none)."""
        self.end(code, message, False)

    @property
    def _waits_for_ready(self):
        """Whether the call waits while its channel cannot connect."""
        return self.wait_for_ready

    @property
    def _metadata_to_send(self):
        """The metadata of the request, as pairs."""
        return pairs(self.request_metadata)

    # ------------------------------------------------------------------ events of the stream

    cdef int progress(self, Stream stream, int events) except -1:
        if stream is not self.stream:
            return 0        # of an attempt that was given up
        if self.outcome is not None:
            if events & CLOSED:
                self.link = None
            return 0
        if events & DEADLINE:
            self.channel.count_limit("timeout")
            return self.end(DEADLINE_EXCEEDED, "the deadline of the call passed", True)
        if events & STALLED:
            return self.end(
                CANCELLED, "the server took no data for too long (stall_timeout)", True)
        if events & FAULT and not stream.remote_ended:
            # Not `end`, which would drop the good replies that came before.
            self.outcome = made(stream.fault[0], stream.fault[1])
            stream.stop_sending(CANCEL)
            self.driver.changed()
            return self.finished()
        if events & (END | CLOSED | FAULT):
            if not stream.remote_ended and self.retry(events):
                return 0
            self.outcome = read_outcome(stream)
            if stream.reset_code == LOST and self.driver.connection.failure is not None:
                self.outcome.message += f": {self.driver.connection.failure}"
            if (not stream.remote_ended and stream.reset_code == CANCEL and self.expiry
                    and self.channel.clock.now() >= self.expiry):
                # The server's timer was the faster one, and its reset came before this one's.
                self.outcome = made(DEADLINE_EXCEEDED, "the deadline of the call passed")
            if stream.oversized_head:
                self.outcome = made(
                    RESOURCE_EXHAUSTED,
                    "the metadata of the response is over max_metadata_bytes="
                    f"{self.driver.connection.max_header_bytes}")
            if not stream.local_ended and stream.link != NULL:
                # The answer is complete: what is still to be sent is of no use (RFC 9113 8.1).
                stream.stop_sending(NO_ERROR)
                self.driver.changed()
            self.check_cardinality()
            return self.finished()
        if events & HEAD and stream.oversized_head:
            return self.end(
                RESOURCE_EXHAUSTED,
                "the metadata of the response is over max_metadata_bytes="
                f"{self.driver.connection.max_header_bytes}", True)
        if not self.server_streaming and stream.waiting_messages() > 1:
            return self.end(
                UNIMPLEMENTED, f"{self.rpc_method.path} has one reply; more came", True)
        return self.wake()

    cdef int check_cardinality(self) except -1:
        cdef Py_ssize_t count
        if self.server_streaming or self.outcome.code != OK:
            return 0
        count = self.stream.waiting_messages()
        if count != 1:
            self.outcome = made(
                UNIMPLEMENTED, f"{self.rpc_method.path} has one reply; {count} came")
        return 0

    cdef bint retry(self, int events) except -1:
        """Whether a request that no server has looked at goes out again (gRFC A6, transparent)."""
        cdef Stream stream = self.stream
        if stream.head_received or self.channel.closed:
            return False
        if not (events & UNSENT or stream.reset_code == REFUSED_STREAM):
            return False
        if events & UNSENT:
            # Nothing of it has left: what was taken from the caller goes along.
            self.unsent = stream
        elif self.client_streaming and self.head_written:
            # Requests were sent, and they are not kept.
            return False
        else:
            if self.attempts:
                return False
            self.attempts += 1
        # Before it looks for a place: the GOAWAY that sends it away, or the loss of the connection,
        # may not have been looked at.
        self.driver.note_goaway()
        if self.driver.lost:
            self.driver.usable = False
        if self.interception is not None:
            self.interception.attempt_failed(UNAVAILABLE, "the server took no notice of the call")
        self.leave_stream()
        self.launch()
        return True

    cdef int leave_stream(self) except -1:
        """The stream was an attempt that is given up."""
        if self.link is not None:
            self.link.call = NULL
        self.stream = None
        self.link = None
        self.driver = None
        self.io = None
        self.initial = None
        self.trailing = None
        self.peer_compression = None
        return 0

    cdef int end(self, int code, str message, bint reset) except -1:
        """End the call from this side."""
        if self.outcome is not None:
            return 0
        self.outcome = made(code, message)
        self.given_up = code == CANCELLED or code == DEADLINE_EXCEEDED
        if self.stream is not None:
            if reset:
                self.stream.reset(CANCEL)
            self.stream.discard_input()
            self.inflation = None
            self.driver.changed()
        return self.finished()

    cdef int fail_with(self, object error) except -1:
        """End the call from this side with this exception for its caller."""
        if self.outcome is None:
            self.local_error = error
            if isinstance(error, RpcError):
                self.end(int(error.code), error.message, True)
            else:
                self.end(UNKNOWN, f"{type(error).__name__}: {error}", True)
        return 0

    cdef int finished(self) except -1:
        """The call has its outcome."""
        if self.pick_done is not None:
            done, self.pick_done = self.pick_done, None
            done(make_status(self.outcome))
        if self.outcome.code == OK and self.driver is not None:
            self.driver.calls_succeeded += 1
        if self.interception is not None:
            if not self.interception.call_ended():
                return 0
            self.leave_interception()
        if self.scope is not None:
            self.scope.remove(self)
            self.scope = None
        if self.outcome.code == OK:
            self.channel.calls_succeeded += 1
        else:
            self.channel.calls_failed += 1
        self.request = None
        self.unsent = None
        if self.waiting_timer is not None:
            self.waiting_timer.cancel()
            self.waiting_timer = None
        if self.pump is not None:
            self.pump.cancel()
        if self.callbacks is not None:
            callbacks, self.callbacks = self.callbacks, None
            self.channel.release(self)
            for callback in callbacks:
                self.loop.call_soon(callback, self)
        return self.wake()

    cdef int leave_interception(self) except -1:
        """The interceptors are through; the interception can serve another call."""
        cdef Interception interception = self.interception
        cdef Interceptors interceptors = interception.interceptors
        # This call's, and the one here.
        if interceptors.take_back(interception, 2):
            self.interception = None
        return 0

    # ------------------------------------------------------------------ replies and errors

    cdef bint has_reply(self) noexcept:
        """Whether a reply waits to be taken."""
        if self.kept is not None:
            return len(self.kept) > 0
        return self.stream is not None and self.stream.waiting_messages() > 0

    cdef object next_reply(self):
        """The next reply as a message; call it only while one waits."""
        if self.kept is not None:
            return self.kept.pop()
        if self.interception is not None:
            return self.interception.hand_over(self.decode_reply())
        return self.decode_reply()

    cdef object decode_reply(self):
        """The next message of the stream."""
        cdef object data = self.stream.next_message()
        cdef Inflation inflation
        if self.driver is not None and self.stream.link != NULL and self.stream.link.dirty:
            self.driver.changed()
        self.came_compressed = type(data) is CompressedMessage
        if self.came_compressed:
            inflation, self.inflation = self.inflation, None
            try:
                if inflation is None:
                    inflation = begin_inflation(
                        data, self.compression_of_replies(), self.channel.max_receive_bytes)
                data = take_inflated(inflation)
            except ResourceExhausted:
                self.channel.count_limit("max_receive_bytes")       # once inflated
                raise
        try:
            return self.decode(data)
        except RpcError:
            raise
        except Exception as error:
            raise from_status(
                INTERNAL, f"a reply is no {self.rpc_method.response.__name__}: {error}"
            ) from None

    cdef object compression_of_replies(self):
        if self.peer_compression is None:
            self.peer_compression = read_compression(self.stream.head)
        return self.peer_compression

    cdef Inflation begin_message(self):
        try:
            compression = self.compression_of_replies()
        except RpcError:
            return None         # `decode_reply` raises it to whoever takes the reply
        return begin_inflation(
            self.stream.peek_message(), compression, self.channel.max_receive_bytes)

    cdef object only_reply(self):
        if self.outcome.code != OK:
            raise self.error()
        if self.reply_taken:
            raise RuntimeError("the reply of this call was taken already; await a call once")
        self.reply_taken = True
        return self._checked_reply()

    def _checked_reply(self):
        """The next reply; a reply that cannot be read ends the call with its error."""
        try:
            return self.next_reply()
        except RpcError as error:
            if self.outcome is None:
                if self.interception is not None:
                    self.local_error = error
                self.end(int(error.code), error.message, True)
            else:
                self.outcome = made(int(error.code), error.message)
            raise self.error() from None
        except Exception as error:
            # Of an interceptor, or of a compression of the program's own.
            self.fail_with(error)
            raise self.error() from None

    cdef object error(self):
        """The exception for the outcome, which is not OK."""
        error = self.local_error
        if error is not None:
            if isinstance(error, RpcError):
                # Once: kept here, it would hold whoever waits for the call, in a cycle.
                self.local_error = None
            return error
        return from_status(
            self.outcome.code, self.outcome.message,
            initial_metadata=self.read_initial(), trailing_metadata=self.read_trailing(),
            details=self.outcome.details or (), method=self.rpc_method.path, peer=self.peer)

    cdef object read_initial(self):
        if self.initial is None:
            self.initial = initial_of_stream(self.stream)
        return self.initial

    cdef object read_trailing(self):
        if self.trailing is None:
            self.trailing = trailing_of_stream(self.stream)
        return self.trailing

    cdef object read_status(self):
        """The Status of a call that is over. One reply that came with OK is read for it: when that
        cannot be, its error is the status."""
        if (self.outcome.code == OK and not self.server_streaming and not self.reply_taken
                and self.kept is None and self.has_reply()):
            try:
                self.kept = [self.decode_reply()]
            except RpcError as error:
                self.outcome = made(int(error.code), error.message)
            except Exception as error:
                # Of a compression of the program's own.
                self.local_error = error
                self.outcome = made(UNKNOWN, f"{type(error).__name__}: {error}")
        return make_status(self.outcome)

    # ------------------------------------------------------------------ steps that are waited for

    cdef Operation step_of(self, int kind):
        return self.operation(kind, None)

    cdef int poll(self, Operation operation) except -1:
        cdef int kind = operation.kind
        if kind == RESULT and (self.outcome is None or self.outcome.code != OK):
            return self.outcome is not None
        if kind == RESULT or kind == RECEIVE or kind == ITERATE:
            if self.kept is None and self.stream is not None and self.stream.waiting_messages():
                return type(self.stream.peek_message()) is bytes or self.opens_message()
            return self.outcome is not None or self.has_reply()
        if self.outcome is not None:
            return True
        if kind == SEND or kind == SEND_PLAIN:
            if self.half_closed:
                return True
            # None before there is a stream, and between two attempts.
            return self.link is not None and self.stream.has_room()
        if kind == DONE_SENDING:
            return True
        if kind == INITIAL:
            return self.stream is not None and self.stream.head_received
        if kind == START:
            return self.stream is not None
        return False

    cdef object finish(self, Operation operation):
        cdef int kind = operation.kind
        if kind == RESULT:
            return self.only_reply()
        if kind == RECEIVE or kind == ITERATE:
            if self.has_reply():
                return self._checked_reply()
            if self.outcome.code != OK:
                raise self.error()
            if kind == ITERATE:
                raise StopAsyncIteration
            return None
        if kind == SEND or kind == SEND_PLAIN:
            return self._put_request(operation.payload, kind == SEND_PLAIN)
        if kind == DONE_SENDING:
            if not self.half_closed:
                self.half_closed = True
                if self.link is not None and self.outcome is None:
                    self.stream.end_data(None, None)
                    self.driver.changed()
            return None
        if kind == INITIAL:
            if self.stream is None or not self.stream.head_received:
                if self.outcome.code != OK:
                    raise self.error()
            elif self.interception is not None:
                self.interception.commit()
            return self.read_initial()
        if kind == START and self.stream is None and self.outcome.code != OK:
            raise self.error()
        return None

    cdef bint run_errand(self) except -1:
        if self.interception is None:
            return False
        return self.interception.take_errand()

    cdef int pass_errand_on(self) except -1:
        if self.interception is not None:
            self.interception.pass_errand_on()
        return 0

    cdef bint wake_thread(self) except -1:
        """On a loop that threads share: wake one that waits for a step, done or not. Whether there
        was one."""
        cdef Operation operation
        cdef ThreadParking parking
        for operation in self.operations or ():
            if isinstance(operation.parking, ThreadParking) and not operation.parking.ended:
                parking = operation.parking
                self.operations.remove(operation)
                parking.fire()
                return True
        return False

    cdef int abandon(self, Operation operation) except -1:
        if operation.kind == RESULT or operation.kind == RECEIVE or operation.kind == ITERATE:
            self.end(CANCELLED, "the task that waited for the call was cancelled", True)
        return 0

    def _put_request(self, request, bint plain):
        """Queue one request of a stream; `plain`: uncompressed, whatever the call has."""
        if self.outcome is not None:
            if self.outcome.code == OK:
                raise EOFError(f"{self.rpc_method.path}: the server ended the call; "
                               "no more requests can be sent")
            raise self.error()
        if self.half_closed:
            raise RuntimeError("no more requests can be sent after done_sending()")
        if self.interception is not None:
            request = self.interception.send_through(request)
            if self.outcome is not None:
                raise self.error()
            if self.half_closed:
                raise RuntimeError("no more requests can be sent after done_sending()")
        message = pack_request(self, request, plain)
        self.head_written = True      # from here on the request stream is not repeatable
        if self.interception is not None:
            self.interception.keep(message)
            if self.link is None:
                return      # between two attempts
        self.put(message)
        self.driver.changed()

    cdef object packed(self, object request):
        """One request of a call with one, as the wire writes it."""
        return pack_request(self, request, False)

    cdef int put(self, object message) except -1:
        """Queue one request, packed."""
        if type(message) is CompressedMessage:
            return self.stream.append_message((<CompressedMessage> message).data, True)
        return self.stream.append_message(<bytes> message, False)

    cdef int step_to_send(self, object compress) except -1:
        """The kind of step that sends one request of a stream."""
        if compress is None:
            return SEND
        if not compress:
            return SEND_PLAIN
        if self.own_compression is None:
            raise ValueError(f"{self.rpc_method.path}: this call has no compression: give it one "
                             "where it is made, as in compression='gzip'")
        return SEND

    def __repr__(self):
        if self.outcome is None:
            state = "running"
        else:
            state = f"{name_of(self.outcome.code)} {self.outcome.message!r}"
        return f"<{type(self).__name__} {self.rpc_method.path} {state}>"


cdef object initial_of_stream(Stream stream):
    """The Metadata of the response head."""
    if stream is None or not stream.head_received or stream.trailers_only:
        # Trailers-Only: what came is trailing metadata.
        return Metadata()
    return decode_metadata(stream.head, True)


cdef object trailing_of_stream(Stream stream):
    """The Metadata of the trailers."""
    if stream is None or not stream.remote_ended:
        return Metadata()
    return decode_metadata(stream.head if stream.trailers_only else stream.trailers, True)


cdef Outcome made(int code, str message):
    cdef Outcome outcome = Outcome.__new__(Outcome)
    outcome.code = code
    outcome.message = message
    return outcome


cdef object make_status(Outcome outcome):
    try:
        code = StatusCode(outcome.code)
        message = outcome.message
    except ValueError:
        code = StatusCode.UNKNOWN
        message = f"{outcome.message} (status code {outcome.code})"
        if not outcome.message:
            message = f"status code {outcome.code}"
    return Status(code, message, outcome.details or ())


cdef str name_of(int code):
    try:
        return StatusCode(code).name
    except ValueError:
        return f"code {code}"


cdef object encode_request(Call call, request):
    try:
        data = call.encode(request)
    except Exception as error:
        raise TypeError(
            f"{call.rpc_method.path} takes {call.rpc_method.request.__name__}, "
            f"not {type(request).__name__}: {error}") from error
    if 0 <= call.channel.max_send_bytes < len(data):
        call.channel.count_limit("max_send_bytes")
        raise from_status(
            RESOURCE_EXHAUSTED,
            f"a request of {len(data)} bytes is over max_send_bytes={call.channel.max_send_bytes}",
            method=call.rpc_method.path)
    return data


cdef object pack_request(Call call, request, bint plain):
    """A request as it goes: bytes, or a CompressedMessage."""
    data = encode_request(call, request)
    if call.own_compression is None or plain:
        return data
    return compress_message(call.own_compression, data)


# ---------------------------------------------------------------------- the four patterns

cdef class UnaryUnaryCall(Call):
    """A call with one request and one reply: await it for the reply."""

    def __await__(self):
        return self.operation(RESULT, None)


cdef class ReplyStream(Call):
    """A call with many replies: iterate it."""

    def __aiter__(self):
        return self

    def __anext__(self):
        return self.operation(ITERATE, None)

    def receive(self):
        """Await it: the next reply, None after the last. Raises the call's RpcError."""
        return self.operation(RECEIVE, None)


cdef class UnaryStreamCall(ReplyStream):
    """A call with one request and many replies: iterate it, or `receive()` them."""


cdef class StreamUnaryCall(Call):
    """A call with many requests and one reply: `send()` them, then await it for the reply."""

    def __await__(self):
        if not self.half_closed and self.pump is None and self.outcome is None:
            # Who waits for the reply has no more to send.
            self._finish_sending()
        return self.operation(RESULT, None)

    def _finish_sending(self):
        """Half-close now."""
        self.finish(self.operation(DONE_SENDING, None))

    def send(self, request, *, compress=None):
        """Await it: one request is taken, as soon as there is room. Raises the call's RpcError,
        or EOFError when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
        return self.operation(self.step_to_send(compress), request)

    def done_sending(self):
        """Await it: half-close, no more requests follow."""
        return self.operation(DONE_SENDING, None)


cdef class StreamStreamCall(ReplyStream):
    """A call with many requests and many replies, independent of each other: `send()`,
    `done_sending()`, `receive()`, or iterate it."""

    def send(self, request, *, compress=None):
        """Await it: one request is taken, as soon as there is room. Raises the call's RpcError,
        or EOFError when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
        return self.operation(self.step_to_send(compress), request)

    def done_sending(self):
        """Await it: half-close, no more requests follow."""
        return self.operation(DONE_SENDING, None)


# ---------------------------------------------------------------------- methods of stubs

cdef class MultiCallable:
    """A method of a stub."""
    cdef readonly CallPlace channel
    cdef readonly object method
    cdef RequestTemplate template
    cdef object encode
    cdef object decode
    cdef bint client_streaming
    cdef bint server_streaming

    def __init__(self, CallPlace channel not None, method):
        self.channel = channel
        self.method = method
        self.template = channel.make_template(method)
        codec = channel.codec_for(method)
        self.encode = codec.encoder(method.request)
        self.decode = codec.decoder(method.response)
        self.client_streaming = method.pattern.client_streaming
        self.server_streaming = method.pattern.server_streaming

    cdef int prepare(self, Call call, timeout, metadata, bint wait_for_ready,
                     compression, credentials) except -1:
        cdef CallPlace channel = self.channel
        cdef CallScope scope
        cdef double seconds, bound
        channel.bind()
        if channel.closed:
            raise RuntimeError(f"{channel!r} is closed; no calls can be made")
        call.channel = channel
        channel.calls_started += 1
        call.loop = channel.loop
        call.template = self.template
        call.rpc_method = self.method
        call.encode = self.encode
        call.decode = self.decode
        call.client_streaming = self.client_streaming
        call.server_streaming = self.server_streaming
        call.wait_for_ready = wait_for_ready
        if timeout is None:
            seconds = channel.default_timeout
        else:
            try:
                seconds = timeout
            except TypeError:
                raise TypeError(f"{timeout=!r} is no number of seconds") from None
            if seconds < 0:
                seconds = 0
            elif seconds != seconds:
                raise ValueError(f"{timeout=!r} is no number of seconds")
        if seconds >= 0 and seconds < 1e9:
            call.expiry = channel.clock.now() + seconds
        if metadata is not None:
            call.request_metadata = Metadata(metadata)
        if compression is None:
            call.own_compression = channel.compression
        else:
            chosen = COMPRESSIONS.choose(compression)
            call.own_compression = None if chosen.name == "identity" else chosen
        call.interceptors = channel.interceptors
        if credentials is not None or channel.credentials is not None:
            call.interceptors = channel.authorize(
                channel.credentials if credentials is None else credentials)
        scope = current_scope() if has_servers else None
        if scope is not None:
            bound = scope.expiry_by(channel.clock)
            if bound and not 0 < call.expiry < bound:
                call.expiry = bound
            if channel.propagate is not None:
                propagate_metadata(call, scope, channel.propagate)
            scope.add(call)
        return 0

    cdef int send_one(self, Call call, request) except -1:
        if call.interceptors is not None:
            return call.interceptors.begin(call, request)
        call.request = pack_request(call, request, False)
        call.half_closed = True
        return call.launch()

    cdef int send_many(self, Call call, requests) except -1:
        if call.interceptors is not None:
            call.interceptors.begin(call, None)
        else:
            call.launch()
        if requests is not None and call.outcome is None:
            call.pump = call.loop.create_task(pump_requests(call, requests))
        return 0

    def __repr__(self):
        return f"<{type(self).__name__} {self.method.path} on {self.channel!r}>"

    def __class_getitem__(cls, item):
        return cls


cdef class UnaryUnary(MultiCallable):
    """A method with one request and one reply."""

    def __call__(self, request, *, timeout=None, metadata=None, bint wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call. `timeout` in seconds; `metadata` a mapping or pairs."""
        cdef UnaryUnaryCall call = UnaryUnaryCall.__new__(UnaryUnaryCall)
        self.prepare(call, timeout, metadata, wait_for_ready, compression, credentials)
        self.send_one(call, request)
        return call


cdef class UnaryStream(MultiCallable):
    """A method with one request and many replies."""

    def __call__(self, request, *, timeout=None, metadata=None, bint wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call. `timeout` in seconds; `metadata` a mapping or pairs."""
        cdef UnaryStreamCall call = UnaryStreamCall.__new__(UnaryStreamCall)
        self.prepare(call, timeout, metadata, wait_for_ready, compression, credentials)
        self.send_one(call, request)
        return call


cdef class StreamUnary(MultiCallable):
    """A method with many requests and one reply."""

    def __call__(self, requests=None, *, timeout=None, metadata=None, bint wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call. `requests`: an iterable or async iterable; None: `send()` them yourself."""
        cdef StreamUnaryCall call = StreamUnaryCall.__new__(StreamUnaryCall)
        self.prepare(call, timeout, metadata, wait_for_ready, compression, credentials)
        self.send_many(call, check_iterable(self, requests))
        return call


cdef class StreamStream(MultiCallable):
    """A method with many requests and many replies."""

    def __call__(self, requests=None, *, timeout=None, metadata=None, bint wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call. `requests`: an iterable or async iterable; None: `send()` them yourself."""
        cdef StreamStreamCall call = StreamStreamCall.__new__(StreamStreamCall)
        self.prepare(call, timeout, metadata, wait_for_ready, compression, credentials)
        self.send_many(call, check_iterable(self, requests))
        return call


cdef int propagate_metadata(Call call, CallScope scope, tuple keys) except -1:
    """Take values of the call that is being served along, where the caller gives none."""
    found = scope.read_metadata()
    if found is None:
        return 0
    for key in keys:
        values = found.get_all(key)
        if values:
            if call.request_metadata is None:
                call.request_metadata = Metadata()
            if key not in call.request_metadata:
                call.request_metadata[key] = values
    return 0


cdef object check_iterable(MultiCallable method, requests):
    if requests is None or hasattr(requests, "__aiter__") or hasattr(requests, "__iter__"):
        return requests
    raise TypeError(
        f"{method.method.path} takes a stream of requests, an iterable or async iterable of "
        f"{method.method.request.__name__}, not {type(requests).__name__}")


async def pump_requests(Call call, requests):
    """Send the requests of an iterable as the server takes them, then half-close.

    The task that runs this belongs to the call, which cancels it when it is over.
    """
    try:
        if hasattr(requests, "__aiter__"):
            async for request in requests:
                await call.operation(SEND, request)
        else:
            for request in requests:
                await call.operation(SEND, request)
        await call.operation(DONE_SENDING, None)
    except Exception as error:
        if call.outcome is None:
            call.local_error = error
            call.end(CANCELLED, "the source of the requests failed", True)
        else:
            # The call is over, so that a request could not be sent: whoever waits for it knows.
            log.debug("%r: its requests were not all sent: %s", call, error)
