"""A client's interceptors: around a call that the events of its connection drive.

Interceptors run where their call gets on: in the call of the stub's method, and when the
connection tells that the call is over. Where one of them awaits, all of them run in a task instead.
The call holds its interception; that knows the call by a pointer, so that a call that nobody holds
is still cancelled.
"""
import asyncio
import logging

from cpython.object cimport PyObject

from .._core.stream cimport CompressedMessage
from ..transport.interception cimport (
    CALLING,
    ENTERING,
    OVER,
    PAUSED,
    CallOutcome,
    Interception,
    Interceptors,
    enter_context,
    leave_context,
)
from ..wire.grpc cimport Outcome
from .call cimport Call, initial_of_stream, trailing_of_stream

from ..rpc.errors import RpcError, from_status
from ..rpc.metadata import Metadata
from ..transport.interception import drive

log = logging.getLogger("gyrfalcon.client")

cdef extern from "Python.h":
    object PyContext_CopyCurrent()

# The requests of a stream that are kept for another attempt (gRFC A6 has the same bound).
cdef size_t KEPT_BYTES = 256 * 1024

cdef enum Code:
    CANCELLED = 1
    UNKNOWN = 2


cdef class ClientInterceptors(Interceptors):
    """The interceptors of a channel."""

    cdef int begin(self, object made, object message) except -1:
        cdef Call call = made
        cdef ClientInterception interception = ClientInterception.__new__(ClientInterception)
        interception.interceptors = self
        interception.owner = <PyObject *> call
        interception.rpc_method = call.rpc_method
        interception.server_streaming = call.server_streaming
        interception.loop = call.loop
        interception.channel = call.channel
        interception.clock = call.channel.clock
        interception.expiry = call.expiry
        interception.message = message
        interception.context = PyContext_CopyCurrent()
        interception.entered = [None] * self.count
        interception.sent = []
        interception.phase = ENTERING
        call.interception = interception
        if self.has_async:
            call.watch_deadline()
            return interception.start_task()
        interception.run()
        if interception.misfit is not None and call.local_error is interception.misfit:
            # As where there are no interceptors: the method itself refuses its argument.
            raise interception.misfit
        return 0


cdef class ClientInterception(Interception):
    """One call of a client, as its interceptors see it."""

    # ------------------------------------------------------------------ what interceptors use

    @property
    def method(self):
        """What is called, "/package.Service/Method"."""
        return self.rpc_method.path

    @property
    def pattern(self):
        """Which of its sides sends a stream."""
        return self.rpc_method.pattern

    @property
    def is_client(self):
        """Whether this is the side that makes the call."""
        return True

    @property
    def metadata(self):
        """The metadata of the request."""
        if self.request_metadata is None:
            self.request_metadata = Metadata()
            if self.owner != NULL:
                if (<Call> self.owner).request_metadata is None:
                    (<Call> self.owner).request_metadata = self.request_metadata
                else:
                    self.request_metadata = (<Call> self.owner).request_metadata
        return self.request_metadata

    @property
    def peer(self):
        """The server's address; None before the call has a connection."""
        if self.owner != NULL and (<Call> self.owner).driver is not None:
            self.peer_name = (<Call> self.owner).driver.peer_name
        return self.peer_name

    @property
    def deadline(self):
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
        return self.expiry if self.expiry else None

    def time_remaining(self):
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return max(self.expiry - self.clock.now(), 0.0) if self.expiry else None

    @property
    def target(self):
        """The target of the channel, with its scheme."""
        return self.channel.canonical_target

    @property
    def sent_bytes(self):
        """Bytes of the request messages of this attempt."""
        if self.owner == NULL or (<Call> self.owner).stream is None:
            return 0
        return (<Call> self.owner).stream.sent_message_bytes

    @property
    def received_bytes(self):
        """Bytes of the reply messages of this attempt."""
        if self.owner == NULL or (<Call> self.owner).stream is None:
            return 0
        return (<Call> self.owner).stream.received_message_bytes

    @property
    def request(self):
        """The request message of a call that has one; None where requests are a stream."""
        return self.message

    def cancel(self):
        """End the call with CANCELLED."""
        cdef Call call
        if self.owner != NULL:
            call = <Call> self.owner
            if call.outcome is None:
                call.end(CANCELLED, "an interceptor cancelled the call", True)

    # ------------------------------------------------------------------ outcomes

    cdef CallOutcome outcome_of(self, object error):
        cdef CallOutcome outcome
        if isinstance(error, asyncio.CancelledError):
            return self.made(CANCELLED, "the interceptors of the call were cancelled")
        if isinstance(error, RpcError):
            if error.method is None:
                error.method = self.rpc_method.path
            outcome = self.made(int(error.code), error.message)
            try:
                outcome.raw_details = error.status.encoded_details()
            except Exception:
                # Not for the wire here: the error itself has them.
                outcome.raw_details = error.details
            outcome.initial = error.initial_metadata
            outcome.trailing = error.trailing_metadata
        else:
            outcome = self.made(UNKNOWN, f"{type(error).__name__}: {error}")
        outcome.failure = error
        return outcome

    cdef object error_of(self, CallOutcome outcome):
        return from_status(
            outcome.status, outcome.text, initial_metadata=outcome.initial_metadata,
            trailing_metadata=outcome.trailing_metadata, details=outcome.raw_details or (),
            method=self.rpc_method.path, peer=self.peer)

    cdef object initial_of(self, CallOutcome outcome):
        return Metadata() if outcome.source is None else initial_of_stream(outcome.source)

    cdef object trailing_of(self, CallOutcome outcome):
        return Metadata() if outcome.source is None else trailing_of_stream(outcome.source)

    cdef CallOutcome read_outcome(self, Call call):
        """The outcome that the call itself has."""
        cdef CallOutcome outcome = self.made(call.outcome.code, call.outcome.message)
        outcome.raw_details = call.outcome.details
        outcome.failure = call.local_error
        outcome.source = call.stream
        outcome.initial = call.initial
        outcome.trailing = call.trailing
        self.as_it_came = outcome
        if call.driver is not None:
            self.peer_name = call.driver.peer_name
        return outcome

    cdef list take_replies(self, Call call):
        """What is left of the replies when the call is over, so that all of them have passed the
        interceptors before these hear of its end."""
        cdef list replies = []
        if call.stream is None or (call.outcome.code != 0 and not call.server_streaming):
            return replies
        while call.stream.waiting_messages():
            try:
                replies.append(call.decode_reply())
            except Exception as error:
                if isinstance(error, RpcError):
                    code, text = int(error.code), error.message
                else:
                    code, text = UNKNOWN, f"{type(error).__name__}: {error}"
                    call.local_error = error
                call.outcome = Outcome.__new__(Outcome)
                set_outcome(call.outcome, code, text, None)
                call.stream.discard_input()
                break
        return replies

    cdef str why_not_again(self):
        cdef Call call
        if self.owner == NULL or self.told:
            return "the call is over"
        call = <Call> self.owner
        if call.given_up:
            return "the call was cancelled, or its deadline has passed"
        if call.channel.closed:
            return "the channel is closed"
        if self.delivered:
            return "something of the reply was handed to the caller already"
        if self.sent is None:
            return (f"more than {KEPT_BYTES} bytes of requests were sent, which is more than are "
                    "kept")
        return None

    cdef bint may_answer(self):
        return not self.delivered

    # ------------------------------------------------------------------ the way of the call

    cdef int attempt_begins(self) except -1:
        cdef bint entered
        if not self.interceptors.sees_attempts:
            return 0
        self.attempting = True
        entered = enter_context(self.context)
        try:
            for hook in self.interceptors.attempt_starts:
                try:
                    hook(self)
                except Exception:
                    log.exception("%s: %s failed", self.method, hook.__qualname__)
        finally:
            if entered:
                leave_context(self.context)
        return 0

    cdef int attempt_failed(self, int code, str message) except -1:
        cdef CallOutcome outcome
        if self.attempting:
            outcome = self.made(code, message)
            outcome.source = (<Call> self.owner).stream
            self.end_attempt(outcome)
        return 0

    cdef int end_attempt(self, CallOutcome outcome) except -1:
        cdef bint entered = enter_context(self.context)
        self.attempting = False
        try:
            for hook in self.interceptors.attempt_ends:
                try:
                    hook(self, outcome)
                except Exception:
                    log.exception("%s: %s failed", self.method, hook.__qualname__)
        finally:
            if entered:
                leave_context(self.context)
        return 0

    cdef int run(self) except -1:
        """Let the interceptors go on, in their context, and do what they decided."""
        cdef bint entered = enter_context(self.context)
        try:
            self.advance()
        finally:
            if entered:
                leave_context(self.context)
        return self.settle()

    cdef int start_task(self) except -1:
        """Let the interceptors go on in a task."""
        self.task = asyncio.Task(run_in_task(self), loop=self.loop, context=self.context)
        self.channel.own(self.task)
        return 0

    cdef int settle(self) except -1:
        cdef Call call
        if self.phase == CALLING:
            return self.make_call()
        if self.owner == NULL:
            return 0
        call = <Call> self.owner
        if self.phase == PAUSED:
            return self.pause_call(call)
        if self.told:
            return 0
        self.publish(call)
        return call.finished()

    def settle_task(self):
        """The task is at its end."""
        self.task = None
        self.settle()

    cdef int make_call(self) except -1:
        cdef Call call
        cdef bint entered
        if self.owner == NULL:
            return 0
        call = <Call> self.owner
        if not call.client_streaming and call.request is None:
            message = self.message
            try:
                if self.interceptors.has_requests:
                    entered = enter_context(self.context)
                    try:
                        message = self.hook_request(self.message)
                    finally:
                        if entered:
                            leave_context(self.context)
                    if call.outcome is not None:
                        return 0
            except BaseException as error:
                return call.fail_with(error)
            try:
                call.request = call.packed(message)
            except Exception as error:
                self.misfit = error
                return call.fail_with(error)
            call.half_closed = True
        return call.launch()

    cdef bint call_ended(self) except -1:
        cdef Call call = <Call> self.owner
        cdef list replies
        cdef bint entered
        if self.phase == OVER:
            return True
        if self.running or self.task is not None:
            # It was ended while interceptors run.
            if self.phase == ENTERING:
                self.stopped = self.read_outcome(call)
                if self.awaited:
                    self.task.cancel()
            # In a task they may take long; the caller does not wait for them.
            self.told = self.task is not None
            return self.told
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        replies = self.take_replies(call)
        self.turn_back(self.read_outcome(call), replies)
        if self.attempting:
            self.end_attempt(self.outcome)
        if self.interceptors.has_async:
            self.start_task()
            if call.given_up:
                self.told = True
                return True
            call.outcome = None
            if call.link is not None:
                call.link.call = NULL
                call.link = None
            call.watch_deadline()
            return False
        entered = enter_context(self.context)
        try:
            self.advance()
        finally:
            if entered:
                leave_context(self.context)
        if self.phase == PAUSED:
            self.pause_call(call)
            return False
        self.publish(call)
        return True

    cdef int publish(self, Call call) except -1:
        """Tell the call what came out."""
        cdef CallOutcome outcome = self.outcome
        if call.outcome is None or outcome is not self.as_it_came:
            call.outcome = Outcome.__new__(Outcome)
            details = outcome.raw_details
            set_outcome(call.outcome, outcome.status, outcome.text,
                        details if type(details) is bytes else None)
        call.local_error = outcome.failure
        if outcome.initial is not None:
            call.initial = outcome.initial
        if outcome.trailing is not None:
            call.trailing = outcome.trailing
        call.kept = self.tail
        if call.kept is None:
            call.kept = []
        elif len(call.kept) > 1:
            call.kept.reverse()
        # An outcome knows its interception: nothing is to be left to the collector of cycles.
        self.outcome = None
        self.as_it_came = None
        self.tail = None
        self.sent = None
        return 0

    cdef int pause_call(self, Call call) except -1:
        """The call is to be made again."""
        call.leave_stream()
        call.outcome = None
        call.local_error = None
        call.unsent = None
        call.attempts = 0
        call.waits_for_connection = False
        call.watch_deadline()
        self.as_it_came = None
        if self.pause > 0:
            self.timer = self.clock.call_later(self.loop, self.pause, self.call_again)
        else:
            # Not right here, where a call that fails at once would nest in itself.
            self.timer = self.loop.call_soon(self.call_again)
        return 0

    def call_again(self):
        """The pause is over."""
        self.timer = None
        if self.owner == NULL or (<Call> self.owner).outcome is not None:
            return
        self.go_on()
        if self.interceptors.has_async:
            self.start_task()
        else:
            self.run()

    # ------------------------------------------------------------------ messages

    cdef object send_through(self, object request):
        cdef bint entered
        cdef Call call
        if not self.interceptors.has_requests:
            return request
        entered = enter_context(self.context)
        try:
            return self.hook_request(request)
        except BaseException as error:
            if self.owner != NULL:
                call = <Call> self.owner
                call.fail_with(error)
            raise
        finally:
            if entered:
                leave_context(self.context)

    cdef int keep(self, object request) except -1:
        if self.sent is None or self.delivered:
            return 0
        if type(request) is CompressedMessage:
            self.sent_bytes += <size_t> len((<CompressedMessage> request).data)
        else:
            self.sent_bytes += <size_t> len(<bytes> request)
        if self.sent_bytes > KEPT_BYTES:
            self.sent = None
        else:
            self.sent.append(request)
        return 0

    cdef int resend(self) except -1:
        cdef Call call = <Call> self.owner
        if self.sent is not None:
            for request in self.sent:
                call.put(request)
        return 0

    cdef int commit(self) except -1:
        self.delivered = True
        self.sent = []
        return 0

    cdef object hand_over(self, object reply):
        cdef bint entered
        if not self.delivered:
            self.commit()
        if not self.interceptors.has_replies:
            return reply
        entered = enter_context(self.context)
        try:
            return self.hook_reply(reply)
        finally:
            if entered:
                leave_context(self.context)


cdef int set_outcome(Outcome outcome, int code, str message, bytes details) except -1:
    outcome.code = code
    outcome.message = message
    outcome.details = details
    return 0


async def run_in_task(ClientInterception interception):
    """Run interceptors of which one awaits, until the call is made or over."""
    await drive(interception)
    interception.settle_task()
