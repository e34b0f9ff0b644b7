"""The methods of blocking stubs: each makes calls of one method, in three ways.

Called, a method waits for the reply where there is one, and returns a call to iterate where there
are many. `future` returns at once; so does `start`, whose events go to a completion queue.
"""
import threading
from contextvars import copy_context

from ..client.call cimport DONE_SENDING, RECEIVE, RESULT, SEND, CallPlace, Call as AsyncCall
from ..transport.blocking cimport SharedLoop
from ..transport.waiting cimport Operation
from .call cimport Place, adopt, run_step

from ..client import call as client
from .call import StreamStreamCall, UnaryStreamCall
from .futures import Future, StreamUnaryFuture, collect
from .queued import start_call

# Of the Code of client/call.pyx.
cdef int CANCELLED = 1


cdef class MultiCallable:
    """A method of a blocking stub. Threads may share it."""
    cdef readonly Place channel
    cdef readonly object method
    cdef object native              # the asyncio channel's, made when it is first needed
    cdef object kind
    cdef int epoch

    def __init__(self, channel, method):
        if not isinstance(channel, Place):
            raise TypeError(
                f"a blocking stub needs a gyrfalcon.blocking.Channel, not {channel!r}")
        self.channel = channel
        self.method = method

    def __class_getitem__(cls, item):
        return cls

    def __repr__(self):
        return f"<{type(self).__name__} {self.method.path} on {self.channel!r}>"

    cdef SharedLoop bind(self):
        cdef SharedLoop loop = self.channel.bind()
        if self.native is None or self.epoch != self.channel.epoch:
            self.native = self.kind(self.channel.inner, self.method)
            self.epoch = self.channel.epoch
        return loop

    cdef object open(self, SharedLoop loop, request, timeout, metadata, wait_for_ready,
                     compression, credentials):
        """Begin a call (inside the loop)."""
        return self.native(request, timeout=timeout, metadata=metadata,
                           wait_for_ready=wait_for_ready, compression=compression,
                           credentials=credentials)

    cdef object open_stream(self, SharedLoop loop, requests, timeout, metadata, wait_for_ready,
                            compression, credentials):
        """Begin a call with many requests and have them sent (inside the loop)."""
        cdef AsyncCall call
        if hasattr(requests, "__aiter__") and not hasattr(requests, "__iter__"):
            raise TypeError(
                f"{self.method.path} is called from threads: its requests are a plain iterable, "
                f"not the asynchronous {type(requests).__name__}")
        if requests is None or (isinstance(requests, (list, tuple))
                                and not hooks_requests(self.channel.inner)):
            # Taking the next of these never waits: whoever leads sends them.
            return self.native(requests, timeout=timeout, metadata=metadata,
                               wait_for_ready=wait_for_ready, compression=compression,
                               credentials=credentials)
        iterator = iter_requests(self, requests)
        call = self.native(None, timeout=timeout, metadata=metadata,
                           wait_for_ready=wait_for_ready, compression=compression,
                           credentials=credentials)
        threading.Thread(
            target=copy_context().run, args=(send_requests, loop, call, iterator),
            name="gyrfalcon-sender", daemon=True).start()
        return call


cdef bint hooks_requests(CallPlace channel) noexcept:
    """Whether interceptors see each request: they may wait."""
    return channel.interceptors is not None and channel.interceptors.has_requests


cdef bint hooks_replies(CallPlace channel) noexcept:
    return channel.interceptors is not None and channel.interceptors.has_replies


cdef object iter_requests(MultiCallable method, requests):
    try:
        return iter(requests)
    except TypeError:
        raise TypeError(
            f"{method.method.path} takes a stream of requests, an iterable of "
            f"{method.method.request.__name__}, not {type(requests).__name__}") from None


def send_requests(SharedLoop loop, AsyncCall call, iterator):
    """Send what an iterator gives, then half-close (a thread of its own: the iterator may wait)."""
    try:
        for request in iterator:
            if call.outcome is not None:
                break
            run_step(loop, call, SEND, request, -1)
        else:
            run_step(loop, call, DONE_SENDING, None, -1)
            return
    except BaseException as error:
        loop.enter()
        try:
            # When the call is over, a request could not be sent: whoever waits for it knows.
            if call.outcome is None:
                call.local_error = error
                call.end(CANCELLED, "the source of the requests failed", True)
        finally:
            loop.leave()
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


cdef object wait_for_reply(SharedLoop loop, AsyncCall call):
    """The one reply (inside the loop)."""
    cdef Operation operation = call.operation(RESULT, None)
    if not call.poll(operation):
        loop.wait(call, operation, -1)
    return call.finish(operation)


def take_reply(AsyncCall call):
    """The one reply of a call that is over; raises its RpcError (inside the loop)."""
    return call.finish(call.operation(RESULT, None))


def collect_replies(SharedLoop loop, AsyncCall call, future):
    """Give a future all replies of its call (a thread of its own: interceptors may wait)."""
    replies = []
    try:
        while True:
            reply = run_step(loop, call, RECEIVE, None, -1)
            if reply is None:
                break
            replies.append(reply)
    except BaseException as error:
        future.settle(None, error)
    else:
        future.settle(replies, None)


cdef object make_future(kind, MultiCallable method, SharedLoop loop, AsyncCall call):
    future = kind(adopt(StreamStreamCall.__new__(StreamStreamCall), call, loop, method.channel))
    if call.server_streaming and hooks_replies(call.channel):
        threading.Thread(
            target=collect_replies, args=(loop, call, future), name="gyrfalcon-receiver",
            daemon=True).start()
        return future
    loop.attend(1)

    def over(done):
        loop.attend(-1)
        try:
            reply = take_reply(done) if done is call else done.result()
        except BaseException as error:
            future.settle(None, error)
        else:
            future.settle(reply, None)

    if call.server_streaming:
        loop.create_task(collect(call)).add_done_callback(over)
    else:
        call.add_done_callback(over)
    return future


cdef class UnaryUnary(MultiCallable):
    """A method with one request and one reply."""

    def __cinit__(self):
        self.kind = client.UnaryUnary

    def __call__(self, request, *, timeout=None, metadata=None, wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call and wait for its reply. `timeout` in seconds; `metadata` a mapping or pairs.
        Raises the call's RpcError."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return wait_for_reply(loop, self.open(
                loop, request, timeout, metadata, wait_for_ready, compression, credentials))
        finally:
            loop.leave()

    def future(self, request, *, timeout=None, metadata=None, wait_for_ready=False,
               compression=None, credentials=None):
        """Make a call; returns its Future at once."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return make_future(Future, self, loop, self.open(
                loop, request, timeout, metadata, wait_for_ready, compression, credentials))
        finally:
            loop.leave()

    def start(self, request, *, queue, tag, timeout=None, metadata=None, wait_for_ready=False,
              compression=None, credentials=None):
        """Make a call; returns it at once. When it is over an event with the tag goes to the
        queue, whose `result()` is the reply."""
        cdef SharedLoop loop = self.bind()
        return start_call(
            loop, self.channel, queue, tag,
            lambda: self.open(loop, request, timeout, metadata, wait_for_ready, compression,
                              credentials))


cdef class UnaryStream(MultiCallable):
    """A method with one request and many replies."""

    def __cinit__(self):
        self.kind = client.UnaryStream

    def __call__(self, request, *, timeout=None, metadata=None, wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call; iterate what it returns. `timeout` in seconds; `metadata` a mapping or
        pairs."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return adopt(UnaryStreamCall.__new__(UnaryStreamCall), self.open(
                loop, request, timeout, metadata, wait_for_ready, compression, credentials),
                loop, self.channel)
        finally:
            loop.leave()

    def future(self, request, *, timeout=None, metadata=None, wait_for_ready=False,
               compression=None, credentials=None):
        """Make a call; returns a Future of the list of its replies at once."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return make_future(Future, self, loop, self.open(
                loop, request, timeout, metadata, wait_for_ready, compression, credentials))
        finally:
            loop.leave()

    def start(self, request, *, queue, tag, timeout=None, metadata=None, wait_for_ready=False,
              compression=None, credentials=None):
        """Make a call; returns it at once, to be read with tags. An event with this tag tells that
        it has begun."""
        cdef SharedLoop loop = self.bind()
        return start_call(
            loop, self.channel, queue, tag,
            lambda: self.open(loop, request, timeout, metadata, wait_for_ready, compression,
                              credentials))


cdef class StreamUnary(MultiCallable):
    """A method with many requests and one reply."""

    def __cinit__(self):
        self.kind = client.StreamUnary

    def __call__(self, requests, *, timeout=None, metadata=None, wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call with the requests of an iterable, and wait for its reply. An iterator is
        advanced in a thread of its own, in a copy of the caller's context."""
        cdef SharedLoop loop = self.bind()
        if requests is None:
            raise TypeError(
                f"{self.method.path} needs its requests: pass an iterable, or use .future() and "
                "send() them")
        loop.enter()
        try:
            return wait_for_reply(loop, self.open_stream(
                loop, requests, timeout, metadata, wait_for_ready, compression, credentials))
        finally:
            loop.leave()

    def future(self, requests=None, *, timeout=None, metadata=None, wait_for_ready=False,
               compression=None, credentials=None):
        """Make a call; returns its Future at once. Without requests: `send()` them."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return make_future(StreamUnaryFuture, self, loop, self.open_stream(
                loop, requests, timeout, metadata, wait_for_ready, compression, credentials))
        finally:
            loop.leave()

    def start(self, requests=None, *, queue, tag, timeout=None, metadata=None,
              wait_for_ready=False, compression=None, credentials=None):
        """Make a call; returns it at once, to be written to with tags (or with the requests of an
        iterable). An event with this tag tells that it has begun."""
        cdef SharedLoop loop = self.bind()
        return start_call(
            loop, self.channel, queue, tag,
            lambda: self.open_stream(
                loop, requests, timeout, metadata, wait_for_ready, compression, credentials))


cdef class StreamStream(MultiCallable):
    """A method with many requests and many replies."""

    def __cinit__(self):
        self.kind = client.StreamStream

    def __call__(self, requests=None, *, timeout=None, metadata=None, wait_for_ready=False,
                 compression=None, credentials=None):
        """Make a call; iterate what it returns. `requests`: an iterable, whose iterator is advanced
        in a thread of its own; None: `send()` them yourself."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return adopt(StreamStreamCall.__new__(StreamStreamCall), self.open_stream(
                loop, requests, timeout, metadata, wait_for_ready, compression, credentials),
                loop, self.channel)
        finally:
            loop.leave()

    def future(self, requests, *, timeout=None, metadata=None, wait_for_ready=False,
               compression=None, credentials=None):
        """Make a call; returns a Future of the list of its replies at once."""
        cdef SharedLoop loop = self.bind()
        loop.enter()
        try:
            return make_future(Future, self, loop, self.open_stream(
                loop, requests, timeout, metadata, wait_for_ready, compression, credentials))
        finally:
            loop.leave()

    def start(self, requests=None, *, queue, tag, timeout=None, metadata=None,
              wait_for_ready=False, compression=None, credentials=None):
        """Make a call; returns it at once, to be written to and read with tags. An event with this
        tag tells that it has begun."""
        cdef SharedLoop loop = self.bind()
        return start_call(
            loop, self.channel, queue, tag,
            lambda: self.open_stream(
                loop, requests, timeout, metadata, wait_for_ready, compression, credentials))
