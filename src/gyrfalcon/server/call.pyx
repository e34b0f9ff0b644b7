"""One call on the server: its state, and the context that its handler sees.

A call is one object: what the stream's events drive, what the worker runs, and the `ctx` of the
handler. All of it belongs to the loop's thread; what a `def` handler may use from its worker thread
says so.
"""
import asyncio
import logging

cimport cython

from cpython.object cimport PyObject

from .._core.stream cimport CLOSED, DEADLINE, FAULT, STALLED, Stream
from ..transport.interception cimport Interception
from ..transport.propagation cimport CallScope, enter_scope
from ..transport.upkeep cimport KeptDriver
from ..transport.waiting cimport Operation, Waiting
from ..wire.inflation cimport Inflation
from .pool cimport Job

from ..rpc.codec import CODECS
from ..rpc.compression import COMPRESSIONS
from ..rpc.errors import (
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    RpcError,
    from_status,
)
from ..rpc.metadata import Metadata
from .call_log import log_call

log = logging.getLogger("gyrfalcon.server")

cdef object END_OF_REQUESTS = object()
cdef unsigned int CANCEL = 8


cdef class Handler:
    """One method of a service that is served."""

    def __init__(self, method, function, *, bint threaded):
        self.method = method
        self.path = method.path
        self.function = function
        self.client_streaming = method.pattern.client_streaming
        self.server_streaming = method.pattern.server_streaming
        self.threaded = threaded
        self.decode = method.codec.decoder(method.request)
        self.encode = method.codec.encoder(method.response)
        self.codecs = {"": (self.decode, self.encode)}
        self.codecs[method.codec.name] = self.codecs[""]

    cdef tuple coders(self, str subtype):
        """(decode, encode) for a content-subtype, or None when it has no codec."""
        found = self.codecs.get(subtype)
        if found is None:
            codec = CODECS.get(subtype)
            if codec is None:
                return None
            try:
                found = codec.decoder(self.method.request), codec.encoder(self.method.response)
            except TypeError:
                # A codec for messages of another kind than this method has.
                return None
            self.codecs[subtype] = found
        return found


cdef class CallHost(KeptDriver):
    """A connection, as its calls see it."""

    cdef int start(self, ServerContext call) except -1:
        """The call has what its handler needs: run it."""
        raise AssertionError("a host starts calls")

    cdef object run_in_thread(self, ServerContext call, object request):
        """The coroutine of a `def` handler."""
        raise AssertionError("a host runs handlers")

    cdef int call_over(self) except -1:
        """A call's handler has returned."""
        self.running -= 1
        return 0

    cdef int cancel(self, ServerContext call) except -1:
        """Cancel the task that runs the call's handler."""
        raise AssertionError("a host cancels calls")


@cython.no_gc_clear
@cython.freelist(128)
cdef class ServerContext(Waiting):
    """What a handler knows of its call, and the way to say more than its reply.

    In a `def` handler the methods block; in an `async def` handler await what they return.
    """

    def __dealloc__(self):
        if self.scope is not None:
            self.scope.served = NULL

    # ------------------------------------------------------------------ what handlers use

    @property
    def metadata(self):
        """What the client sent, as Metadata."""
        if self.request_metadata is None:
            self.request_metadata = self.wire.read_metadata(self.stream.head)
        return self.request_metadata

    @property
    def trailing_metadata(self):
        """Metadata to be sent with the status; fill it in."""
        if self.reply_metadata is None:
            self.reply_metadata = Metadata()
        return self.reply_metadata

    @trailing_metadata.setter
    def trailing_metadata(self, metadata):
        self.reply_metadata = Metadata(metadata)

    @property
    def method(self):
        """What was called, "/package.Service/Method"."""
        return self.handler.path

    @property
    def peer(self):
        """The client: its address, "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:", and with
        mutual TLS who it has proved to be."""
        return self.host.peer_name

    @property
    def deadline(self):
        """When the call must be done, in seconds on time.monotonic()'s clock (the clock of the
        server's network, if it has another), or None."""
        return self.expiry if self.expiry else None

    def time_remaining(self):
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return max(self.expiry - self.host.clock.now(), 0.0) if self.expiry else None

    @property
    def cancelled(self):
        """Whether the call is over for the client: cancelled, past its deadline or disconnected."""
        return self.gone

    @property
    def compression(self):
        """The name of the compression of the replies; set it before the first of them."""
        return "identity" if self.own_compression is None else self.own_compression.name

    @compression.setter
    def compression(self, compression):
        chosen = COMPRESSIONS.choose(compression)
        if self.head_written or self.packed:
            raise RuntimeError("compression cannot be set any more: the first reply was made")
        self.own_compression = None if chosen.name == "identity" else negotiate(self, chosen)

    @property
    def compress(self):
        """Whether the replies that follow are compressed, where the call has a compression; True.

        Change it between replies to leave some of them as they are."""
        return not self.plain

    @compress.setter
    def compress(self, bint compress):
        self.plain = not compress

    @property
    def request_compressed(self):
        """Whether the request that was taken last came compressed; False before the first."""
        return self.came_compressed

    def send_initial_metadata(self, metadata=None):
        """Send the head of the response now, with this metadata (a mapping or pairs).

        Without it the head goes with the first reply. RuntimeError when it was sent already.
        """
        metadata = Metadata(metadata)
        job = self.job
        if job is not None and not job.pool.on_loop():
            return job.pool.call(self.host, self._put_head, (metadata,))
        self._put_head(metadata)
        return done()

    def _put_head(self, metadata):
        """Send the head (loop thread)."""
        if self.head_written:
            raise RuntimeError("initial metadata can be sent once, before the first reply")
        self.sent_initial = metadata
        if not self.gone:
            self.wire.write_head(self, metadata)
            self.host.changed()

    # ------------------------------------------------------------------ events of the stream

    cdef int progress(self, Stream stream, int events) except -1:
        if events & CLOSED:
            return self._closed()
        if events & DEADLINE:
            self._count_limit("timeout")
            self.gone = True
            if self.status_written:
                # Answered in time, but the client did not read it in time.
                self.stream.reset(CANCEL)
                return self.host.changed()
            self.stream.drop_output(0)
            self.answer(4, "the deadline of the call passed", None, None)
            return self._stop()
        if events & STALLED:
            return self.give_up_stalled()
        if events & FAULT and not self.status_written:
            self.answer(stream.fault[0], stream.fault[1], None, None)
            return self._stop()
        if self.state == NEW:
            return self.try_start()
        if self.job is not None:
            job = self.job
            job.progress()
        return self.wake()

    cdef int give_up_stalled(self) except -1:
        """The client takes nothing of what was sent, and has had time to."""
        self.gone = True
        if not self.status_written:
            self.status_code = 1
            self.status_text = "the client took no data for too long (stall_timeout)"
            self.status_written = True
        self.stream.reset(CANCEL)
        self.host.changed()
        return self._stop()

    def _closed(self):
        """The stream is over: after the answer, or because the client is gone."""
        cdef Stream stream = self.stream
        stream.sink = None
        if not self.status_written or self.state != OVER:
            if not self.status_written:
                if self.expiry and self.host.clock.now() >= self.expiry:
                    # The client's timer was the faster one, and its reset came before this one's.
                    self.status_code = 4
                    self.status_text = "the deadline of the call passed"
                else:
                    self.status_code = 1
                    self.status_text = "the client cancelled the call or is gone"
            self.gone = True
            self.status_written = True
            self._stop()
        return 0

    def _stop(self):
        """The answer is given, or nobody hears it: cancel what runs."""
        state = self.state
        if state == NEW or state == WAITING:
            self.state = OVER
            if self.host.interceptors is not None:
                self.tell_refused()
            if self.job is not None:
                job = self.job
                job.leave()
            self.retire()
        elif state == RUNNING:
            # First the task, so that a handler that waits for its call sees the cancellation.
            self.host.cancel(self)
            if self.job is not None:
                job = self.job
                job.progress()
            self.wake()
            self.end_scope()
        return 0

    cdef int end_scope(self) except -1:
        """The call is over: so are those that were made while it was served."""
        if self.scope is None:
            return 0
        if self.status_code == 4:
            return self.scope.end(4, "the deadline of the call that was being served passed")
        return self.scope.end(1, "the call that was being served is over")

    cdef int try_start(self) except -1:
        cdef Py_ssize_t count
        if self.handler.client_streaming:
            self.state = WAITING
            return self.host.start(self)
        count = self.stream.waiting_messages()
        if count > 1:
            self.answer(12, f"{self.handler.path} takes one request message; more came", None, None)
            self._stop()
        elif self.stream.remote_ended:
            if count == 0:
                self.answer(
                    12, f"{self.handler.path} takes one request message; none came", None, None)
                self._stop()
            else:
                self.state = WAITING
                self.host.start(self)
        return 0

    cdef int answer(self, int code, str message, object metadata, bytes details) except -1:
        """End the call with this status; what else the client sends is dropped."""
        if self.status_written:
            return 0
        try:
            self.wire.write_status(self, code, message, metadata, details)
        except RpcError as error:
            log.error("%s: the status goes without its metadata: %s", self.handler.path, error)
            if code == 0:
                code, message = int(error.code), error.message
            self.wire.write_status(self, code, message, None, None)
        if code == 0:
            self.host.calls_succeeded += 1
        if not self.stream.remote_ended:
            self.stream.discard_input()
        return self.host.changed()

    cdef int retire(self) except -1:
        """The call and its handler are over."""
        if self.status_code or self.host.access_log:
            self.note_end()
        self.coroutine = None
        self.worker = None
        self.job = None
        self.inflation = None
        if self.handed_on is not None:
            handed_on, self.handed_on = self.handed_on, None
            close_unawaited(handed_on)
        if self.scope is not None:
            self.scope.served = NULL
            if self.scope.first != NULL or not self.scope.code:
                self.scope.end(
                    1, "the handler has returned in which the call was made; calls that go on "
                    "after it are made in gyrfalcon.detach()")
        return self.host.call_over()

    cdef str called_path(self):
        """What was called, whether it is served or not."""
        if self.handler is None:
            return (self.stream.head.get(b":path") or b"").decode("latin-1")
        return self.handler.path

    def _count_limit(self, name):
        """Count that a limit (rpc.limits) was met once more (any thread)."""
        self.host.connection.count_limit(name)

    cdef int tell_refused(self) except -1:
        """Tell the interceptors that the call is over before they saw it."""
        return self.host.interceptors.tell_refused(
            self.called_path(), self.status_code, self.handler is not None)

    cdef int note_end(self) except -1:
        """Tell the log."""
        log_call(self.host.peer_name, self.called_path(), self.status_code, self.status_text,
                 self.host.clock.now() - self.began if self.began else 0.0, self.host.access_log)
        return 0

    # ------------------------------------------------------------------ the handler

    cdef int begin(self) except -1:
        """Make the coroutine that answers the call (the worker drives it)."""
        self.state = RUNNING
        if self.handler.threaded:
            if self.handed_on is not None:
                # Its function has returned what is to be awaited.
                handed_on, self.handed_on = self.handed_on, None
                self.coroutine = self.finish_handed_on(handed_on)
                return 0
            if self.scope is None:
                self.open_scope()       # others have one already, where there are channels
        if self.host.interceptors is not None:
            return self.host.interceptors.begin(self, None)
        if self.handler.client_streaming:
            request = self.request_stream()
        else:
            request = self.decode_request(self.stream.next_message())
        self.coroutine = self.start_handler(request)
        return 0

    cdef int open_scope(self) except -1:
        """Calls that are made from here on, in its context, belong to this one."""
        cdef CallScope scope = CallScope.__new__(CallScope)
        scope.expiry = self.expiry
        scope.clock = self.host.clock
        scope.served = <PyObject *> self
        self.scope = scope
        return enter_scope(scope)

    cdef object request_stream(self):
        cdef RequestStream requests = RequestStream.__new__(RequestStream)
        requests.call = self
        return requests

    cdef object start_handler(self, object request):
        """The coroutine of the handler."""
        cdef Handler handler = self.handler
        if handler.threaded:
            return self.host.run_in_thread(self, request)
        if handler.server_streaming:
            return send_replies(self, handler.function(request, self))
        return handler.function(request, self)

    cdef object finish_handed_on(self, object handed_on):
        """What is to be awaited for what a `def` handler returned."""
        return send_replies(self, handed_on) if self.handler.server_streaming else handed_on

    cdef object decode_request(self, object data):
        cdef Inflation inflation = self.inflation
        try:
            if inflation is None:
                data = self.wire.read_message(self, data, self.max_receive_bytes)
            else:
                self.inflation = None
                self.came_compressed = True
                data = inflation.take()
        except ResourceExhausted:
            self._count_limit("max_receive_bytes")      # once inflated
            raise
        try:
            return self.decode(data)
        except RpcError:
            raise
        except Exception as error:
            raise Internal(
                f"a request of {self.handler.path} is no "
                f"{self.handler.method.request.__name__}: {error}") from None

    cdef int complete(self, object reply) except -1:
        """The handler returned."""
        cdef Interception interception = self.interception
        if interception is not None:
            self.state = OVER
            return interception.conclude(reply, None)
        data = None
        if not self.status_written and not self.handler.server_streaming:
            try:
                data = encode_reply(self, reply)
            except RpcError as error:
                return self.fail(error)
        return self.conclude(data)

    cdef int conclude(self, bytes data) except -1:
        """The handler returned, and its one reply was encoded."""
        self.state = OVER
        if not self.status_written:
            if self.handler.server_streaming:
                self.answer(0, "", self.reply_metadata, None)
            else:
                try:
                    self.wire.write_reply(self, data, self.reply_metadata)
                except RpcError as error:
                    return self.fail(error)
                except Exception as error:
                    return self.fail(compression_failed(self, error))
                self.host.calls_succeeded += 1
                if not self.stream.remote_ended:
                    self.stream.discard_input()
                self.host.changed()
        return self.retire()

    cdef int fail(self, object error) except -1:
        """The handler raised."""
        cdef Interception interception = self.interception
        self.state = OVER
        if interception is not None:
            return interception.conclude(None, error)
        if isinstance(error, RpcError):
            if not self.status_written:
                self._answer_error(error)
        elif isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self.answer(1, "the handler was cancelled", self.reply_metadata, None)
        elif not self.status_written:
            log.error("%s: the handler failed", self.handler.path, exc_info=error)
            self.answer(
                2, f"{self.handler.path} failed: an error inside the server", None, None)
        elif not self.gone:
            log.error("%s: the handler failed after its answer", self.handler.path, exc_info=error)
        return self.retire()

    def _answer_error(self, error):
        """End the call as an RpcError says."""
        metadata = error.trailing_metadata
        if self.reply_metadata:
            metadata = Metadata([*self.reply_metadata.items(), *metadata.items()])
        code = int(error.code)
        if code == 0:
            log.error("%s: the handler raised an error with code OK", self.handler.path,
                      exc_info=error)
            code = 2
        if error.initial_metadata and not self.head_written:
            self._put_head(error.initial_metadata)
        self.answer(code, str(error.message), metadata, encode_error_details(self, error))

    cdef int write(self, object message) except -1:
        """Queue one reply."""
        if self.status_written:
            return 0
        return self.write_packed(pack_reply(self, self.hook_reply(message)))

    cdef int write_packed(self, object message) except -1:
        """Queue one reply that was packed."""
        if self.status_written:
            return 0
        if not self.head_written:
            self.wire.write_head(self, None)
        self.wire.write_message(self, message)
        return self.host.changed()

    cdef object failure(self):
        """Why no request message will come any more, as an exception;
        None when the client ended."""
        cdef Stream stream = self.stream
        if self.expiry and self.gone and not stream.reset_code >= 0:
            return DeadlineExceeded("the deadline of the call passed")
        if stream.fault is not None:
            return from_status(stream.fault[0], stream.fault[1])
        if self.gone:
            return Cancelled("the client cancelled the call or is gone")
        return None

    # ------------------------------------------------------------------ steps that are waited for

    cdef int poll(self, Operation operation) except -1:
        if operation.kind == DRAINED:
            return self.status_written or self.stream.has_room()
        if operation.kind == RETURNED:
            return (<Job> operation.payload).finished
        if self.status_written or not self.stream.waiting_messages():
            return self.status_written or self.stream.remote_ended
        return self.peer_compression is None or self.opens_message()

    cdef Inflation begin_message(self):
        return self.wire.begin_message(self, self.stream.peek_message(), self.max_receive_bytes)

    cdef bint opens_request(self) except -1:
        """Whether the one request can be decoded on the loop now."""
        return (self.handler.threaded or not self.stream.waiting_messages()
                or self.opens_message())

    cdef bint has_requests(self) noexcept:
        """Whether the next request, or the end of them, is here."""
        return (self.status_written or self.stream.waiting_messages() > 0
                or self.stream.remote_ended)

    cdef object finish(self, Operation operation):
        if operation.kind != REQUEST:
            return None
        request = self.next_request()
        if request is END_OF_REQUESTS:
            raise StopAsyncIteration
        return request

    cdef object next_request(self):
        cdef Stream stream = self.stream
        cdef Interception interception = self.interception
        if stream.waiting_messages():
            data = stream.next_message()
            if stream.link != NULL and stream.link.dirty:
                self.host.changed()
            data = self.decode_request(data)
            if interception is not None:
                data = interception.hook_request(data)
            return data
        error = self.failure()
        if error is not None:
            raise error
        return END_OF_REQUESTS

    cdef object hook_reply(self, object message):
        """One reply of a stream, as interceptors let it through (any thread)."""
        cdef Interception interception = self.interception
        return message if interception is None else interception.hook_reply(message)

    def __repr__(self):
        return f"<ServerContext {self.handler.path} peer={self.peer!r}>"


cdef object encode_reply(ServerContext call, object message):
    cdef bytes data
    try:
        data = call.encode(message)
    except RpcError:
        raise
    except Exception as error:
        log.error("%s: the handler's reply cannot be encoded", call.handler.path, exc_info=error)
        raise Internal(
            f"{call.handler.path}: the reply is no {call.handler.method.response.__name__}"
        ) from None
    if 0 <= call.host.max_send_bytes < len(data):
        call._count_limit("max_send_bytes")
        raise ResourceExhausted(
            f"{call.handler.path}: a reply of {len(data)} bytes is over "
            f"max_send_bytes={call.host.max_send_bytes}")
    return data


cdef bytes encode_error_details(ServerContext call, error):
    """The details of an error as they are sent; None when they cannot be: its code goes alone."""
    try:
        return error.status.encoded_details()
    except Exception as failure:
        log.error("%s: the details of %s cannot be encoded", call.handler.path,
                  type(error).__name__, exc_info=failure)
        return None


cdef object pack_reply(ServerContext call, object message):
    """A reply as the wire writes it: encoded, and compressed if need be (any thread)."""
    data = encode_reply(call, message)
    try:
        return call.wire.pack_message(call, data)
    except Exception as error:
        raise compression_failed(call, error) from None


cdef object compression_failed(ServerContext call, error):
    log.error("%s: a reply cannot be compressed", call.handler.path, exc_info=error)
    return Internal(f"{call.handler.path}: a reply could not be compressed")


cdef object negotiate(ServerContext call, object compression):
    """The compression, if the client said that it takes it."""
    accepted = (call.accepted or b"").replace(b" ", b"").split(b",")
    return compression if compression.name.encode() in accepted else None


async def done():
    """What a step that is finished at once returns, for those who await it."""


async def send_replies(ServerContext call, replies):
    """Send what the handler of a streaming method yields."""
    if hasattr(replies, "__await__"):
        # `async def` without a `yield` in it: it may return what is to be streamed.
        replies = await replies
        if replies is None:
            return
    if not hasattr(replies, "__aiter__"):
        for message in replies:
            call.write(message)
            if not call.stream.has_room():
                await call.operation(DRAINED, None)
            if call.status_written:
                return
        return
    try:
        async for message in replies:
            call.write(message)
            if not call.stream.has_room():
                await call.operation(DRAINED, None)
            if call.status_written:
                break
    finally:
        close = getattr(replies, "aclose", None)
        if close is not None:
            await close()


@cython.freelist(64)
cdef class RequestStream:
    """The request messages of a streaming call: iterate it, with `async for` on the loop and with
    `for` in a `def` handler. It raises the call's RpcError when the client will send no more of
    them and did not end the stream. Drop it, or stop iterating, at any time."""

    def __aiter__(self):
        return self

    def __anext__(self):
        return self.call.operation(REQUEST, None)

    def __iter__(self):
        return self

    def __next__(self):
        # What a `def` handler gets has its own.
        raise TypeError("the requests of an `async def` handler are read with `async for`")

    def __class_getitem__(cls, item):
        return cls


cdef int close_unawaited(awaitable) except -1:
    """Nobody will await this coroutine or iterate this generator."""
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
    return 0
