"""A client's interceptors: around a call that the events of its connection drive.

Interceptors run where their call gets on: in the call of the stub's method, and when the
connection tells that the call is over. Where one of them awaits, all of them run in a task instead.
On a loop that threads share they may wait as well, so that they run without it: when the call is
over they are an errand for a thread that waits for the call, else for one that is kept for that.
The call holds its interception; that knows the call by a pointer, so that a call that nobody holds
is still cancelled.
"""
import asyncio
import logging

from cpython.object cimport PyObject

from .._core.stream cimport CompressedMessage
from ..transport.blocking cimport SharedLoop
from ..transport.interception cimport (
    CALLING,
    ENTERING,
    LEAVING,
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
from ..transport.callbacks import INTERCEPTORS
from ..transport.interception import drive

log = logging.getLogger("gyrfalcon.client")

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    object PyContext_Copy(object context)

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident()

# The requests of a stream that are kept for another attempt (gRFC A6 has the same bound).
cdef size_t KEPT_BYTES = 256 * 1024

cdef enum Code:
    CANCELLED = 1
    UNKNOWN = 2


cdef class ClientInterceptors(Interceptors):
    """The interceptors of a channel."""

    cdef int begin(self, object made, object message) except -1:
        cdef Call call = made
        cdef ClientInterception interception = <ClientInterception> self.take_spare()
        if interception is None:
            interception = ClientInterception.__new__(ClientInterception)
            interception.entered = [None] * self.count
            interception.phase = ENTERING
        interception.interceptors = self
        interception.owner = <PyObject *> call
        interception.rpc_method = call.rpc_method
        interception.server_streaming = call.server_streaming
        interception.channel = call.channel
        interception.expiry = call.expiry
        interception.message = message
        interception.context = PyContext_CopyCurrent()
        call.interception = interception
        if self.has_async:
            call.watch_deadline()
            return interception.start_task()
        if type(call.channel.loop) is SharedLoop:
            interception.begin_shared(call.channel.loop)
        else:
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
        return max(self.expiry - self.channel.clock.now(), 0.0) if self.expiry else None

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
        if self.owner == NULL:
            return
        call = <Call> self.owner
        if self.shared is not None:
            self.shared.enter()
        try:
            if call.outcome is None:
                call.end(CANCELLED, "an interceptor cancelled the call", True)
        finally:
            if self.shared is not None:
                self.shared.leave()

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
        outcome.as_it_came = True
        outcome.source = call.stream
        # Where there is nothing None is in its place already, and costs as much to be put there.
        if call.outcome.details is not None:
            outcome.raw_details = call.outcome.details
        if call.local_error is not None:
            outcome.failure = call.local_error
        if call.initial is not None:
            outcome.initial = call.initial
        if call.trailing is not None:
            outcome.trailing = call.trailing
        if call.driver is not None:
            self.peer_name = call.driver.peer_name
        return outcome

    cdef list take_replies(self, Call call):
        """What is left of the replies when the call is over, so that all of them have passed the
        interceptors before these hear of its end; None for none."""
        if (call.stream is None or (call.outcome.code != 0 and not call.server_streaming)
                or not call.stream.waiting_messages()):
            return None
        return self.take_all(call)

    cdef list take_all(self, Call call):
        """Those replies; the error of one that cannot be read is the call's outcome."""
        cdef list replies = None
        try:
            if not call.server_streaming:
                return [call.decode_reply()]
            replies = []
            while call.stream.waiting_messages():
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
        if self.overfull:
            return (f"more than {KEPT_BYTES} bytes of requests were sent, which is more than are "
                    "kept")
        return None

    cdef bint may_answer(self):
        return not self.delivered

    # ------------------------------------------------------------------ the way of the call

    cdef int attempt_begins(self) except -1:
        if self.interceptors.sees_attempts:
            self.attempting = True
            self.tell_started()
        return 0

    cdef int tell_started(self) except -1:
        entered = self.enter_own()
        try:
            for hook in self.interceptors.attempt_starts:
                try:
                    hook(self)
                except Exception:
                    log.exception("%s: %s failed", self.method, hook.__qualname__)
        finally:
            self.leave_own(entered)
        return 0

    cdef int attempt_failed(self, int code, str message) except -1:
        cdef CallOutcome outcome
        if self.attempting:
            outcome = self.made(code, message)
            outcome.source = (<Call> self.owner).stream
            self.end_attempt(outcome)
        return 0

    cdef int end_attempt(self, CallOutcome outcome) except -1:
        self.attempting = False
        if not self.interceptors.attempt_ends:
            return 0
        entered = self.enter_own()
        try:
            for hook in self.interceptors.attempt_ends:
                try:
                    hook(self, outcome)
                except Exception:
                    log.exception("%s: %s failed", self.method, hook.__qualname__)
        finally:
            self.leave_own(entered)
        return 0

    cdef int begin_shared(self, SharedLoop loop) except -1:
        """`run` for the first time, on a loop that threads share."""
        self.shared = loop
        self.beginning = True
        try:
            self.run()
            # The call may have ended at once.
            while self.take_errand():
                pass
        finally:
            self.beginning = False
        return 0

    cdef int run(self) except -1:
        """Let the interceptors go on, in their context, and do what they decided."""
        if self.shared is None:
            self.advance_inside()
        else:
            self.run_shared()
        return self.settle()

    cdef int advance_inside(self) except -1:
        """`advance`, on a loop that belongs to this thread."""
        cdef object context = self.context
        cdef bint entered = enter_context(context)
        try:
            self.advance()
        finally:
            if entered:
                leave_context(context)
        return 0

    cdef int run_shared(self) except -1:
        """`advance`, on a loop that threads share, until no news of the call are left."""
        self.outside = True
        self.runner = PyThread_get_thread_ident()
        try:
            self.advance_outside()
            while self.stopped is not None and self.phase != OVER:
                # The call was ended by another thread when they had just been through.
                self.turn_back(self.stopped, None)
                self.stopped = None
                self.advance_outside()
        finally:
            self.outside = False
        return 0

    cdef int advance_outside(self) except -1:
        """`advance`, while others have the loop."""
        cdef bint out = self.step_out()
        try:
            entered = self.enter_own()
            try:
                self.advance()
            finally:
                self.leave_own(entered)
        finally:
            if out:
                self.shared.step_in()
        return 0

    cdef bint step_out(self) except -1:
        """Leave the loop to others, where threads share it and it can be left."""
        return self.shared is not None and self.shared.step_out()

    cdef object enter_own(self):
        """Enter the interceptors' context; returns what is to be left, None where this thread is in
        it already. While another thread is in it, hooks have a copy of it."""
        if enter_context(self.context):
            self.inside = PyThread_get_thread_ident()
            return self.context
        if self.shared is None or self.inside == PyThread_get_thread_ident():
            return None
        context = PyContext_Copy(self.context)
        enter_context(context)
        return context

    cdef int leave_own(self, object context) except -1:
        if context is None:
            return 0
        if context is self.context:
            self.inside = 0
        return leave_context(context)

    cdef int put_out(self) except -1:
        """Have a thread run the interceptors without the loop (inside)."""
        cdef Call call
        self.errand = True
        if self.beginning or self.handing:
            return 0        # the thread that makes the call, or hands a reply over, sees to it
        if self.owner != NULL:
            call = <Call> self.owner
            if call.wake_thread():
                return 0
            if not call.given_up:
                call.watch_deadline()
        INTERCEPTORS.submit(self.run_errand)
        return 0

    def run_errand(self):
        """Run the interceptors if nobody has done so meanwhile (a thread for interceptors)."""
        self.shared.enter()
        try:
            self.take_errand()
        finally:
            self.shared.leave()

    cdef bint take_errand(self) except -1:
        if not self.errand:
            return False
        self.errand = False
        self.run()
        return True

    cdef int pass_errand_on(self) except -1:
        return self.put_out() if self.errand else 0

    cdef int start_task(self) except -1:
        """Let the interceptors go on in a task."""
        self.task = asyncio.Task(
            run_in_task(self), loop=self.channel.loop, context=self.context)
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
        if self.owner == NULL:
            return 0
        call = <Call> self.owner
        if not call.client_streaming and call.request is None:
            message = self.message
            if self.interceptors.has_requests:
                try:
                    message = self.pass_hooks(message, False)
                except BaseException as error:
                    return call.fail_with(error)
                if call.outcome is not None or self.phase != CALLING:
                    return 0
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
        if self.outside or self.errand:
            # It was ended while interceptors run in some thread, or wait for one.
            if self.told:
                return True
            if self.phase != LEAVING and self.phase != OVER:
                self.stopped = self.read_outcome(call)
                if self.outside and self.runner == PyThread_get_thread_ident():
                    return False
            # They may take long; the caller does not wait for them.
            self.told = True
            return True
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
            self.hold_back(call)
            call.watch_deadline()
            return False
        if self.shared is not None:
            self.hold_back(call)
            self.put_out()
            return False
        self.advance_inside()
        if self.phase == PAUSED:
            self.pause_call(call)
            return False
        self.publish(call)
        return True

    cdef int hold_back(self, Call call) except -1:
        """The call has its outcome when the interceptors are through."""
        call.outcome = None
        if call.link is not None:
            call.link.call = NULL
            call.link = None
        return 0

    cdef int publish(self, Call call) except -1:
        """Tell the call what came out."""
        cdef CallOutcome outcome = self.outcome
        if call.outcome is None or not outcome.as_it_came:
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
        self.sent = None
        outcome = None      # nobody is to hold it but the interception, and interceptors
        return self.forget_outcome()

    cdef bint clear(self) except -1:
        if self.timer is not None or self.misfit is not None or not Interception.clear(self):
            return False
        self.context = None
        self.shared = None
        self.channel = None
        self.request_metadata = None
        self.peer_name = None
        self.errand = False
        self.attempting = False
        self.told = False
        self.delivered = False
        self.sent = None
        self.overfull = False
        self.sent_bytes = 0
        return True

    cdef int pause_call(self, Call call) except -1:
        """The call is to be made again."""
        call.leave_stream()
        call.outcome = None
        call.local_error = None
        call.unsent = None
        call.attempts = 0
        call.waits_for_connection = False
        call.watch_deadline()
        if self.pause > 0:
            self.timer = self.channel.clock.call_later(
                self.channel.loop, self.pause, self.call_again)
        else:
            # Not right here, where a call that fails at once would nest in itself.
            self.timer = self.channel.loop.call_soon(self.call_again)
        return 0

    def call_again(self):
        """The pause is over."""
        self.timer = None
        if self.owner == NULL or (<Call> self.owner).outcome is not None:
            return
        self.go_on()
        if self.interceptors.has_async:
            self.start_task()
        elif self.shared is not None:
            self.put_out()
        else:
            self.run()

    # ------------------------------------------------------------------ messages

    cdef object send_through(self, object request):
        cdef Call call
        if not self.interceptors.has_requests:
            return request
        try:
            return self.pass_hooks(request, False)
        except BaseException as error:
            if self.owner != NULL:
                call = <Call> self.owner
                call.fail_with(error)
            raise

    cdef object pass_hooks(self, object message, bint is_reply):
        """What `request` or `reply` of the interceptors make of a message, in their context."""
        cdef bint out = self.step_out()
        try:
            entered = self.enter_own()
            try:
                return self.hook_reply(message) if is_reply else self.hook_request(message)
            finally:
                self.leave_own(entered)
        finally:
            if out:
                self.shared.step_in()

    cdef int keep(self, object request) except -1:
        if self.overfull or self.delivered:
            return 0
        if type(request) is CompressedMessage:
            self.sent_bytes += <size_t> len((<CompressedMessage> request).data)
        else:
            self.sent_bytes += <size_t> len(<bytes> request)
        if self.sent_bytes > KEPT_BYTES:
            self.overfull = True
            self.sent = None
        elif self.sent is None:
            self.sent = [request]
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
        self.sent = None
        return 0

    cdef object hand_over(self, object reply):
        if not self.delivered:
            self.commit()
        if not self.interceptors.has_replies:
            return reply
        self.handing += 1
        try:
            return self.pass_hooks(reply, True)
        finally:
            self.handing -= 1
            if not self.handing:
                # They hear of the end of the call after its replies.
                self.pass_errand_on()


cdef int set_outcome(Outcome outcome, int code, str message, bytes details) except -1:
    outcome.code = code
    outcome.message = message
    outcome.details = details
    return 0


async def run_in_task(ClientInterception interception):
    """Run interceptors of which one awaits, until the call is made or over."""
    await drive(interception)
    interception.settle_task()
