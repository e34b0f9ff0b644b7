"""A server's interceptors: around a handler, in its context.

Interceptors that never await run in the worker that runs the handler, before and after it. Where
one of them awaits, or replies are a stream, the handler's coroutine is wrapped in one that runs
them.
"""
import asyncio
import logging

from ..transport.interception cimport (
    CALLING,
    ENTERING,
    OVER,
    CallOutcome,
    Interception,
    Interceptors,
    enter_context,
    leave_context,
)
from .call cimport (
    DRAINED,
    ServerContext,
    compression_failed,
    encode_error_details,
    encode_reply,
    pack_reply,
)

from ..rpc.errors import RpcError, from_status
from ..rpc.metadata import Metadata
from ..transport.interception import drive

log = logging.getLogger("gyrfalcon.server")

cdef enum Code:
    CANCELLED = 1
    UNKNOWN = 2


cdef class ServerInterceptors(Interceptors):
    """The interceptors of a server."""

    cdef int begin(self, object served, object message) except -1:
        cdef ServerContext call = served
        cdef ServerInterception interception = <ServerInterception> self.take_spare()
        if interception is None:
            interception = ServerInterception.__new__(ServerInterception)
            interception.entered = [None] * self.count
            interception.phase = ENTERING
        interception.interceptors = self
        interception.call = call
        interception.server_streaming = call.handler.server_streaming
        call.interception = interception
        if self.has_async or interception.server_streaming:
            call.coroutine = run_intercepted(interception)
            return 0
        interception.advance()
        if interception.phase == CALLING:
            try:
                call.coroutine = interception.start()
            except BaseException as error:
                interception.handled(None, error)
                interception.advance()
        if interception.phase == OVER:
            call.coroutine = nothing_to_run()
        return 0


cdef class ServerInterception(Interception):
    """One call on a server, as its interceptors see it."""

    # ------------------------------------------------------------------ what interceptors use

    @property
    def method(self):
        """What was called, "/package.Service/Method"."""
        return self.call.handler.path

    @property
    def pattern(self):
        """Which of its sides sends a stream."""
        return self.call.handler.method.pattern

    @property
    def is_client(self):
        """Whether this is the side that makes the call."""
        return False

    @property
    def metadata(self):
        """The metadata of the request."""
        return self.call.metadata

    @property
    def peer(self):
        """The client's address."""
        return self.call.peer

    @property
    def deadline(self):
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
        return self.call.deadline

    def time_remaining(self):
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return self.call.time_remaining()

    @property
    def target(self):
        """The target of the channel: a server knows none."""
        return None

    @property
    def sent_bytes(self):
        """Bytes of the reply messages."""
        return self.call.stream.sent_message_bytes

    @property
    def received_bytes(self):
        """Bytes of the request messages."""
        return self.call.stream.received_message_bytes

    @property
    def request(self):
        """The request message of a call that has one; None where requests are a stream."""
        return self.take_request()

    cdef object take_request(self):
        if not self.taken and not self.call.handler.client_streaming:
            if not self.call.stream.waiting_messages():
                return None     # it was dropped with the call, or its handler's thread has it
            self.taken = True
            self.message = self.call.decode_request(self.call.stream.next_message())
        return self.message

    def cancel(self):
        """End the call with CANCELLED."""
        job = self.call.job
        if job is not None and not job.pool.on_loop():
            # From a hook that sees the messages of a stream.
            return job.pool.call(self.call.host, self.cancel, ())
        if self.call.status_written:
            return
        self.call.answer(CANCELLED, "an interceptor cancelled the call", None, None)
        if self.phase == ENTERING:
            self.stopped = self.as_it_ended()
        elif self.phase == CALLING:
            self.call._stop()

    # ------------------------------------------------------------------ outcomes

    cdef CallOutcome outcome_of(self, object error):
        cdef CallOutcome outcome
        if isinstance(error, RpcError):
            outcome = self.made(int(error.code), error.message)
            if outcome.status == 0:
                log.error("%s: an error with code OK was raised", self.method, exc_info=error)
                outcome.status = UNKNOWN
            outcome.raw_details = encode_error_details(self.call, error)
            outcome.failure = error
            return outcome
        if isinstance(error, asyncio.CancelledError):
            return self.as_it_ended()
        log.error("%s: an interceptor failed", self.method, exc_info=error)
        return self.failed_inside(error)

    cdef CallOutcome as_it_ended(self):
        """The outcome of a call that is over before its handler."""
        if self.call.status_written:
            return self.made(self.call.status_code, self.call.status_text)
        return self.made(CANCELLED, "the handler was cancelled")

    cdef CallOutcome failed_inside(self, object error):
        """UNKNOWN, without what the error says."""
        cdef CallOutcome outcome = self.made(
            UNKNOWN, f"{self.method} failed: an error inside the server")
        outcome.trailing = Metadata()
        outcome.cause = error
        return outcome

    cdef CallOutcome outcome_of_handler(self, object error):
        """The outcome that the handler's exception makes."""
        cdef ServerContext call = self.call
        if isinstance(error, RpcError) and not call.status_written:
            return self.outcome_of(error)
        if not isinstance(error, (RpcError, asyncio.CancelledError, GeneratorExit)):
            if not call.status_written:
                log.error("%s: the handler failed", self.method, exc_info=error)
                return self.failed_inside(error)
            if not call.gone:
                log.error(
                    "%s: the handler failed after its answer", self.method, exc_info=error)
        return self.as_it_ended()

    cdef object error_of(self, CallOutcome outcome):
        return from_status(
            outcome.status, outcome.text, trailing_metadata=outcome.trailing_metadata,
            details=outcome.raw_details or (), method=self.method, peer=self.peer)

    cdef object initial_of(self, CallOutcome outcome):
        if outcome.failure is not None and outcome.failure.initial_metadata:
            return outcome.failure.initial_metadata
        return Metadata() if self.call.sent_initial is None else self.call.sent_initial

    cdef object trailing_of(self, CallOutcome outcome):
        if outcome.failure is None or not outcome.failure.trailing_metadata:
            return self.call.trailing_metadata
        if not self.call.reply_metadata:
            return Metadata(outcome.failure.trailing_metadata)
        return Metadata([*self.call.reply_metadata.items(),
                         *outcome.failure.trailing_metadata.items()])

    cdef str why_not_again(self):
        return "only clients make calls again"

    cdef bint may_answer(self):
        return not self.call.head_written and not self.call.status_written

    # ------------------------------------------------------------------ the handler

    cdef object start(self):
        """The coroutine of the handler."""
        cdef ServerContext call = self.call
        if call.handler.client_streaming:
            return call.start_handler(call.request_stream())
        if call.handler.threaded and not self.taken:
            # Until a thread is free it stays where it is, and counts as unread.
            return call.start_handler(None)
        return call.start_handler(self.hook_request(self.take_request()))

    cdef int handled(self, object reply, object error) except -1:
        """The handler returned, or raised."""
        cdef ServerContext call = self.call
        cdef CallOutcome outcome
        cdef list tail = None
        if error is not None:
            outcome = self.outcome_of_handler(error)
        elif call.status_written:
            outcome = self.as_it_ended()
        else:
            outcome = self.made(0, "")
            if self.server_streaming:
                pass
            elif self.interceptors.has_replies:
                tail = [reply]
            else:
                # Now, so that they see whether it can be sent. There is no tail then.
                try:
                    self.encoded = encode_reply(call, reply)
                except RpcError as failure:
                    outcome = self.outcome_of(failure)
        return self.turn_back(outcome, tail)

    cdef int conclude(self, object reply, object error) except -1:
        cdef Interceptors interceptors = self.interceptors
        cdef ServerContext call = self.call
        cdef bint entered
        if self.phase == CALLING and not (interceptors.has_async or self.server_streaming):
            self.handled(reply, error)
            entered = enter_context(call.context)
            try:
                self.advance()
            finally:
                if entered:
                    leave_context(call.context)
        elif self.phase != OVER:
            # The coroutine that runs the interceptors was closed.
            self.close()
            self.outcome = self.outcome_of_handler(error)
        elif error is not None:
            self.outcome = self.outcome_of_handler(error)
        if not call.status_written:
            self.write()
        if interceptors.answers:
            self.tell_answered()
        call.interception = None
        self.forget_outcome()
        call.retire()
        # Who asked for this holds it.
        interceptors.take_back(self, 1)
        return 0

    cdef bint clear(self) except -1:
        if not Interception.clear(self):
            return False
        self.call = None
        self.encoded = None
        return True

    cdef int tell_answered(self) except -1:
        """Tell the interceptors that the answer is on its way."""
        cdef ServerContext call = self.call
        cdef CallOutcome outcome = self.outcome
        cdef bint entered
        if outcome.status != call.status_code:
            # The reply could not be encoded, or the client was gone meanwhile.
            outcome = self.made(call.status_code, call.status_text or "")
        entered = enter_context(call.context)
        try:
            for hook in self.interceptors.answers:
                try:
                    hook(self, outcome)
                except Exception:
                    log.exception("%s: %s failed", self.method, hook.__qualname__)
        finally:
            if entered:
                leave_context(call.context)
        return 0

    cdef int write(self) except -1:
        """Answer the call as came out."""
        cdef ServerContext call = self.call
        cdef CallOutcome outcome = self.outcome
        metadata = outcome.trailing
        if metadata is None and (outcome.failure is not None or call.reply_metadata is not None):
            metadata = outcome.trailing_metadata
        initial = outcome.initial
        if initial is None and outcome.failure is not None:
            initial = outcome.failure.initial_metadata
        if initial and not call.head_written:
            call._put_head(initial)
        if outcome.status != 0 or self.server_streaming:
            return call.answer(outcome.status, outcome.text, metadata, outcome.raw_details)
        try:
            # A tail is what hooks let through, or what one of them has answered in its place.
            data = self.encoded if self.tail is None else encode_reply(call, self.tail[0])
            call.wire.write_reply(call, data, metadata)
        except Exception as error:
            if not isinstance(error, RpcError):
                error = compression_failed(call, error)
            return call.answer(int(error.code), error.message, None, None)
        call.host.calls_succeeded += 1
        if not call.stream.remote_ended:
            call.stream.discard_input()
        return call.host.changed()


async def nothing_to_run():
    """The coroutine of a call that never gets to its handler."""


async def run_intercepted(ServerInterception interception):
    """Run interceptors and handler, and send the replies that an interceptor has in their place."""
    cdef ServerContext call = interception.call
    await drive(interception)
    if interception.phase == CALLING:
        if call.status_written:
            interception.turn_back(interception.as_it_ended(), None)
        else:
            try:
                reply = await interception.start()
            except GeneratorExit:
                raise
            except BaseException as error:
                interception.handled(None, error)
            else:
                interception.handled(reply, None)
        await drive(interception)
    if interception.server_streaming and interception.tail:
        for reply in interception.tail:
            call.write_packed(pack_reply(call, reply))
            if not call.stream.has_room():
                await call.operation(DRAINED, None)
            if call.status_written:
                return
