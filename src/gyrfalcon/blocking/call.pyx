"""Calls of the blocking face: the client's calls, on a loop that the threads that wait run.

Any thread may use a call. Each of its steps is done inside the channel's loop, by the thread that
asks for it, which leads or follows there until the step can be finished.
"""
from ..client.call cimport (
    DONE_SENDING,
    INITIAL,
    RECEIVE,
    STATUS,
    Call as AsyncCall,
)
from ..transport.blocking cimport SharedLoop
from ..transport.waiting cimport Operation

from ..transport.callbacks import CALLBACKS
from ..transport.janitor import JANITOR


cdef class Place:
    """What a blocking channel is to its calls: the asyncio channel, and the loop that it runs on.

    Both are made anew in the child of a fork.
    """

    def __init__(self, inner):
        self.inner = inner

    cdef SharedLoop bind(self):
        """The loop, for this process."""
        if self.loop is None:
            if self.closed:
                raise RuntimeError(f"{self!r} is closed; no calls can be made")
            self.start_loop()
        return self.loop

    def start_loop(self):
        """Make the loop, if there is none (two threads may make the first call)."""
        with JANITOR.lock:
            if self.loop is None:
                loop = JANITOR.make_loop()
                loop.call(self.inner.bind_loop)
                self.loop = loop

    def renew(self, inner):
        """Go on with another channel, on a loop to be made (in the child of a fork)."""
        self.inner = inner
        self.loop = None
        self.epoch += 1

    def shut(self, grace):
        """Close the channel inside, and its loop. Calls that run get `grace` seconds."""
        if self.closed:
            return
        self.closed = True
        loop = self.loop
        if loop is None:
            return
        loop.run(self.inner.close(grace))
        loop.close()
        JANITOR.join()

    def drop(self):
        """Close without waiting (a finalizer's)."""
        if self.loop is not None and not self.closed:
            self.closed = True
            self.loop.call_soon_threadsafe(self.loop.close)

    def run(self, coroutine, timeout=None):
        """Run a coroutine of the channel's and wait for its result."""
        return self.bind().run(coroutine, timeout)

    @property
    def channel(self):
        """The asyncio channel inside."""
        return self.inner


cdef object run_step(SharedLoop loop, AsyncCall call, int kind, object payload, double until):
    """One step of a call, waited for until then (below zero: for ever)."""
    cdef Operation operation
    loop.enter()
    try:
        operation = call.operation(kind, payload)
        if not call.poll(operation) and not loop.wait(call, operation, until):
            raise TimeoutError(f"{call!r}: not done in time")
        return call.finish(operation)
    finally:
        loop.leave()


cdef object adopt(Call made, AsyncCall call, SharedLoop loop, object channel):
    made.call = call
    made.loop = loop
    # The channel goes on while a call of it does.
    made.channel = channel
    return made


cdef class Call:
    """One call of a blocking channel. Any thread may use it.

    Leaving its `with` block cancels it if it is not over; so does dropping it.
    """

    def __class_getitem__(cls, item):
        return cls

    @property
    def method(self):
        """What is called, "/package.Service/Method"."""
        return self.call.method

    @property
    def peer(self):
        """The server's address, as in ServerContext.peer; None before the call has a connection."""
        return self.call.peer

    @property
    def deadline(self):
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
        return self.call.deadline

    @property
    def reply_compressed(self):
        """Whether the reply that was taken last came compressed; False before the first."""
        return self.call.reply_compressed

    def time_remaining(self):
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return self.call.time_remaining()

    def cancel(self):
        """Cancel the call, from any thread: the server is told, whoever waits gets Cancelled.
        False if it is over."""
        self.loop.enter()
        try:
            if not self.call.cancel():
                return False
            # The thread that ends a call runs its interceptors.
            self.call.run_errand()
            return True
        finally:
            self.loop.leave()

    def done(self):
        """Whether the call is over."""
        return self.call.done()

    def cancelled(self):
        """Whether the call is over because it was cancelled."""
        return self.call.cancelled()

    def add_done_callback(self, callback):
        """Have `callback(call)` called when the call is over, in the thread for callbacks, which
        calls them one after another."""
        def over(call):
            CALLBACKS.submit(callback, self)
        self.loop.call(self.call.add_done_callback, over)

    def initial_metadata(self):
        """The Metadata that came with the response head; waits for it. Raises the call's RpcError
        when the call ended without one."""
        return self.step(INITIAL, None)

    def trailing_metadata(self):
        """The Metadata that came with the status; waits until the call is over."""
        self.step(STATUS, None)
        return self.call.read_trailing()

    def status(self):
        """The Status of the call; waits until it is over. Never raises an RpcError."""
        self.step(STATUS, None)
        return self.call.read_status()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if not self.call.done():
            self.cancel()

    cdef object step(self, int kind, object payload):
        return run_step(self.loop, self.call, kind, payload, -1)

    def __repr__(self):
        return repr(self.call)


cdef class ReplyStream(Call):
    """A call with many replies: iterate it."""

    def receive(self):
        """The next reply, None after the last; waits for it. Raises the call's RpcError."""
        return self.step(RECEIVE, None)

    def __iter__(self):
        return self

    def __next__(self):
        reply = self.step(RECEIVE, None)
        if reply is None:
            raise StopIteration
        return reply


cdef class UnaryStreamCall(ReplyStream):
    """A call with one request and many replies: iterate it, or `receive()` them."""


cdef class StreamStreamCall(ReplyStream):
    """A call with many requests and many replies, independent of each other: `send()`,
    `done_sending()`, `receive()`, or iterate it."""

    def send(self, request, *, compress=None):
        """One request is taken, as soon as there is room. Raises the call's RpcError,
        or EOFError when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
        self.step(self.call.step_to_send(compress), request)

    def done_sending(self):
        """Half-close: no more requests follow."""
        self.step(DONE_SENDING, None)
