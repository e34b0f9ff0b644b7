"""`def` handlers: calls as jobs of the worker threads.

Only these classes know both sides, the thread's and the loop's; each method says on which it runs.
The two share memory under the GIL, as `pool` has it: a thread takes requests from the stream and
reads the state of its call by itself. Everything that libnghttp2 has to hear of is the loop's.
"""
import asyncio
from collections import deque

from cpython.bytes cimport PyBytes_GET_SIZE

from .._core.python cimport PyContext_Enter, PyContext_Exit
from .._core.stream cimport CompressedMessage, Stream
from ..transport.interception cimport Interception
from .call cimport (
    RETURNED,
    RUNNING,
    WAITING,
    RequestStream,
    ServerContext,
    encode_reply,
    pack_reply,
)
from .pool cimport Job, Waiter

from ..rpc.errors import DeadlineExceeded

cdef extern from *:
    """
    static int gyr_is_awaitable(PyObject *object) {
        PyAsyncMethods *methods = Py_TYPE(object)->tp_as_async;
        return methods != NULL && methods->am_await != NULL;
    }
    static int gyr_is_async_iterable(PyObject *object) {
        PyAsyncMethods *methods = Py_TYPE(object)->tp_as_async;
        return methods != NULL && methods->am_aiter != NULL;
    }
    """
    bint is_awaitable "gyr_is_awaitable" (object value)
    bint is_async_iterable "gyr_is_async_iterable" (object value)

# What a thread may be ahead of the loop: so many replies, or so many bytes of them.
cdef Py_ssize_t AHEAD = 64
cdef size_t AHEAD_BYTES = 64 * 1024


cdef size_t size_of(object reply) noexcept:
    if type(reply) is CompressedMessage:
        reply = (<CompressedMessage> reply).data
    return <size_t> PyBytes_GET_SIZE(reply)


cdef ThreadCall make_thread_call(ServerContext call):
    """The job that runs a call's handler (loop side)."""
    cdef ThreadCall job
    cdef ThreadStream stream
    if call.handler.client_streaming or call.handler.server_streaming:
        stream = ThreadStream.__new__(ThreadStream)
        stream.replies = deque()
        stream.reading = []
        job = stream
    else:
        job = ThreadCall.__new__(ThreadCall)
    job.call = call
    job.driver = call.host
    return job


cdef class ThreadCall(Job):
    """A call with one request and one reply."""

    cdef int claim(self) except -1:
        """(Thread side.)"""
        self.call.state = RUNNING
        return 0

    cdef int work(self) except -1:
        """(Thread side.)"""
        cdef ServerContext call = self.call
        try:
            PyContext_Enter(call.context)
            call.context_lent = True
            try:
                if call.scope is None:
                    # Also where there is no channel yet: the handler may make the first.
                    call.open_scope()
                if call.status_written:
                    # It has ended since the thread took it.
                    return 0
                if call.expiry and call.host.clock.now() >= call.expiry:
                    # The loop is late.
                    raise DeadlineExceeded("the deadline of the call passed")
                self.outcome = self.run()
            finally:
                PyContext_Exit(call.context)
                call.context_lent = False
        except BaseException as error:
            # SystemExit and KeyboardInterrupt too: here they are a handler's, not the program's.
            self.error = error
        return 0

    cdef object run(self):
        """Run the handler; the reply, or None (thread side)."""
        cdef ServerContext call = self.call
        reply = call.handler.function(self.read_request(), call)
        if is_awaitable(reply):
            # A `def` that hands on what an `async def` returned.
            call.handed_on = reply
            self.handing_on = True
            return None
        return reply if self.awaited else encode_reply(call, reply)

    cdef object read_request(self):
        """The one request (thread side)."""
        cdef ServerContext call = self.call
        cdef Stream stream = call.stream
        cdef Interception interception = call.interception
        if interception is not None and interception.taken:
            request, self.request = self.request, None
            return request
        data = stream.pop_message()
        if stream.owes_credit():
            self.owes_credit = True
            self.pool.report(self)
        request = call.decode_request(data)
        if interception is None:
            return request
        interception.taken = True
        interception.message = request
        return interception.hook_request(request)

    cdef int settle(self) except -1:
        """(Loop side.)"""
        cdef ServerContext call = self.call
        cdef Stream stream
        if call is None:
            return 0
        if self.owes_credit:
            self.owes_credit = False
            stream = call.stream
            stream.return_credit()
            call.host.changed()
        if not self.finished:
            return 0
        self.call = None
        call.job = None
        if self.awaited:
            return call.wake()
        if self.error is not None:
            error, self.error = self.error, None
            return call.fail(error)
        if call.handed_on is not None and not call.status_written:
            call.state = WAITING
            return call.host.start(call)
        return call.conclude(self.outcome)

    cdef int refuse(self, object error) except -1:
        """There is no place for it in the queue (loop side)."""
        self.error = error
        self.finished = True
        return self.settle()

    cdef int leave(self) except -1:
        """The call has ended while it waited for a thread (loop side)."""
        cdef ServerContext call = self.call
        cdef Stream stream
        if self.queued:
            self.pool.forget(self)
        self.call = None
        if call is not None:
            call.job = None
            # The queue may keep this object for a while; it need not keep the request.
            stream = call.stream
            stream.discard_input()
        return 0


cdef class ThreadStream(ThreadCall):
    """A call with many requests, many replies, or both. It keeps its thread to the end."""

    cdef object run(self):
        """(Thread side.)"""
        cdef ServerContext call = self.call
        cdef ThreadRequests requests
        if call.handler.client_streaming:
            requests = ThreadRequests.__new__(ThreadRequests)
            requests.call = call
            requests.job = self
            request = requests
        else:
            request = self.read_request()
        result = call.handler.function(request, call)
        if is_awaitable(result) or (call.handler.server_streaming and is_async_iterable(result)):
            call.handed_on = result
            self.handing_on = True
        elif call.handler.server_streaming:
            self.send(result)
        else:
            return result if self.awaited else encode_reply(call, result)
        return None

    # ------------------------------------------------------------------ replies

    cdef int send(self, object replies) except -1:
        """Run the generator of a handler (thread side)."""
        replies = iter(replies)
        for reply in replies:
            self.call.packed = True
            if not self.put(pack_reply(self.call, self.call.hook_reply(reply))):
                close = getattr(replies, "close", None)
                if close is not None:
                    close()
                return 0
        return 0

    cdef bint may_put(self) noexcept:
        return (self.call.status_written
                or (len(self.replies) < AHEAD and self.size < AHEAD_BYTES))

    cdef bint put(self, object reply) except -1:
        """Hand one packed reply over; wait while the loop is behind.
        False: nobody wants more (thread side)."""
        while not self.may_put():
            self.putting = Waiter.__new__(Waiter)
            self.putting.wait()
            self.putting = None
        if self.call.status_written:
            return False
        self.replies.append(reply)
        self.size += size_of(reply)
        return self.pool.report(self)

    cdef int pump(self) except -1:
        """Write replies while the stream has room; the last of them without asking (loop side)."""
        cdef ServerContext call = self.call
        cdef Stream stream = call.stream
        while self.replies and not call.status_written:
            if not (self.finished or stream.has_room()):
                return 0
            reply = self.replies.popleft()
            self.size -= size_of(reply)
            call.write_packed(reply)
        if self.putting is not None and self.may_put():
            self.putting.fire()
        return 0

    # ------------------------------------------------------------------ requests

    cdef int wait_for_requests(self) except -1:
        """Wait for the next request, or the end of them (thread side)."""
        cdef Waiter waiter = Waiter.__new__(Waiter)
        self.reading.append(waiter)
        return waiter.wait()

    # ------------------------------------------------------------------ both

    cdef int progress(self) except -1:
        """(Loop side.)"""
        if self.reading and self.call.has_requests():
            self.wake_readers()
        return self.pump()

    cdef int wake_readers(self) except -1:
        """(Loop side.)"""
        cdef Waiter waiter
        for waiter in self.reading:
            waiter.fire()
        self.reading.clear()
        return 0

    cdef int settle(self) except -1:
        """(Loop side.)"""
        if self.call is not None:
            self.progress()
        ThreadCall.settle(self)
        if self.finished and self.reading:
            # Threads that the handler has left behind.
            self.wake_readers()
        return 0


cdef class ThreadRequests(RequestStream):
    """The requests of a call as its `def` handler iterates them, in its own thread or another."""
    cdef ThreadStream job

    def __iter__(self):
        return self

    def __next__(self):
        cdef ServerContext call = self.call
        cdef Stream stream = call.stream
        cdef Interception interception = call.interception
        while not stream.waiting_messages():
            if call.has_requests():
                error = call.failure()
                if error is not None:
                    raise error
                raise StopIteration
            if self.job.finished:
                if self.job.awaited and not self.job.handing_on:
                    # Interceptors still run; the call is as good as over.
                    raise StopIteration
                raise RuntimeError(
                    "the handler has returned: its requests are read on the event loop now")
            self.job.wait_for_requests()
        data = stream.pop_message()
        if stream.owes_credit():
            self.job.owes_credit = True
            self.job.pool.report(self.job)
        request = call.decode_request(data)
        return request if interception is None else interception.hook_request(request)


cdef object await_thread(ServerContext call, ThreadCall job):
    return wait_for_thread(call, job)


async def wait_for_thread(ServerContext call, ThreadCall job):
    """The reply of a handler that interceptors surround; the replies of a stream are sent.

    A thread cannot be interrupted: when the call is cancelled, its handler counts until it returns.
    """
    cancelled = None
    while True:
        try:
            await call.operation(RETURNED, job)
        except asyncio.CancelledError as error:
            if job.queued:
                job.leave()
                raise
            cancelled = error
        else:
            break
    if cancelled is not None:
        raise cancelled
    if job.error is not None:
        error, job.error = job.error, None
        raise error
    if call.handed_on is None:
        return job.outcome
    handed_on, call.handed_on = call.handed_on, None
    return await call.finish_handed_on(handed_on)
