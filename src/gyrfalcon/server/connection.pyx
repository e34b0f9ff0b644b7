"""One connection of a server: takes streams on as calls, and runs their handlers.

Handlers run in tasks of the loop, but not each in its own: a `Worker` is a task that runs the
calls that came together, one after another, for as long as their handlers do not wait. The first
that waits keeps its worker to itself, and what is left goes to the next one. So `current_task()`,
cancellation, timeouts and context variables mean in a handler what they mean everywhere in asyncio,
and a handler that never waits costs no task.
"""
import asyncio
import collections.abc
import logging
import random
import sys
from collections import deque

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from .._core.fields cimport HeaderBlock, ValueCache
from .._core.connection cimport Connection
from .._core.python cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PyContext_Enter,
    PyContext_Exit,
    PyIter_Send,
    PySendResult,
)
from .._core.stream cimport STALLED, Sink, Stream
from ..transport.interception cimport Interceptors
from ..transport.propagation cimport has_channels, server_made
from ..transport.turns cimport TURN_SECONDS
from ..transport.upkeep cimport AGE, CLOSING, DRAIN, HANDSHAKE, IDLE, Rules
from ..wire.exchange cimport ServerWire
from .call cimport WAITING, CallHost, Handler, PyContext_Copy, ServerContext, negotiate
from .pool cimport Job
from .threads cimport ThreadCall, await_thread, make_thread_call

from ..rpc.errors import ResourceExhausted
from ..rpc.stats import CallStats
from ..transport.propagation import at_first_channel

cdef extern from "Python.h":
    bint PyCoro_CheckExact(object made)

log = logging.getLogger("gyrfalcon.server")

# For the answer to the PING between two GOAWAYs (RFC 9113 6.8 leaves it open).
cdef double DRAIN_SECONDS = 10.0
# Of the calls that are ended when a connection's grace is over, to be told to the client.
cdef double LAST_SECONDS = 1.0
# gRFC A8: PINGs without a call are expected every two hours, and the third that comes too soon is
# too much. Ages differ by a tenth, so that clients that came together do not come back together.
cdef double NO_CALLS_PING_INTERVAL = 7200.0
cdef int MOST_STRIKES = 3
cdef double AGE_JITTER = 0.1
cdef uint32_t CANCEL = 8
cdef uint32_t ENHANCE_YOUR_CALM = 11

cdef bint EAGER = sys.version_info >= (3, 12)


cdef class Ignore(Sink):
    """Who hears of a stream that was refused: nobody."""

    cdef int progress(self, Stream stream, int events) except -1:
        if events & STALLED:
            stream.reset(CANCEL)
        return 0

cdef Ignore IGNORE = Ignore()


cdef Sink refused(ServerContext call):
    """The call has its answer, without a handler."""
    cdef ServerDriver driver
    call.stream.discard_input()
    call.note_end()
    if call.host.interceptors is not None and call.status_code >= 0:
        driver = call.host
        if call.handler is None:
            call.handler = driver.find_handler(call.stream)     # a head that could not be read
        call.tell_refused()
    return IGNORE


cdef class CallLimit:
    """How many calls the connections of a server have at once, all together."""

    def __init__(self, Py_ssize_t limit):
        self.limit = limit


cdef class ServerDriver(CallHost):
    """The server's side of one connection. `server` is told of its beginning and end.

    `handshake_deadline`: until then, by the clock, the client has to have sent its SETTINGS.
    """

    def __init__(self, Connection connection not None, loop, server, dict handlers not None,
                 ServerWire wire not None, context, *, Py_ssize_t max_running,
                 Py_ssize_t max_send_bytes=-1, compression=None, clock=None,
                 bint access_log=False,
                 Interceptors interceptors=None, Rules rules=None, CallLimit calls=None,
                 double handshake_deadline=0):
        CallHost.__init__(self, connection, loop, clock, rules)
        self.calls = calls
        self.handshake_deadline = handshake_deadline
        server_made()
        self.server = server
        self.handlers = handlers
        self.wire = wire
        self.context = context
        self.waiting = deque()
        self.paths = ValueCache()
        self.max_running = self.stream_limit = max_running
        self.max_send_bytes = max_send_bytes
        self.compression = compression
        self.access_log = access_log
        self.interceptors = interceptors

    cdef int made(self) except -1:
        if self.handshake_deadline:
            self.set_due(HANDSHAKE, self.handshake_deadline)
        if self.rules.max_age:
            self.set_due(AGE, self.clock.now() + self.rules.max_age
                         * random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER))
        self.server.connection_made(self)
        return 0

    cdef bint may_tell_later(self) noexcept:
        return True

    cdef int ended(self, object error) except -1:
        if self.running == 0:
            self.server.connection_over(self)
        return 0

    cdef int call_over(self) except -1:
        self.running -= 1
        if self.calls is not None:
            self.calls.running -= 1
        if self.over and self.running == 0:
            self.server.connection_over(self)
        return 0

    cdef int received(self) except -1:
        cdef Worker worker
        if not self.shaken and self.connection.settings_received:
            self.shake_hands()
        if self.connection.drain_ready:
            self.due[<int> DRAIN] = 0
            self.connection.finish_drain()
        if self.connection.pings_received != self.pings_seen:
            self.judge_pings()
        if EAGER and self.waiting and not self.worker_scheduled:
            worker = Worker.__new__(Worker)
            worker.driver = self
            self.worker_scheduled = True
            self.run_worker(worker)
        return 0

    cdef bint may_linger(self) noexcept:
        # Threads that run `def` handlers need the GIL, and the loop would take it in between.
        return self.pool is None or self.pool.busy + self.pool.waiting == 0

    @property
    def running_calls(self):
        """Calls whose handler has not returned."""
        return self.running

    def call_stats(self):
        """The calls of this connection, as rpc.stats.CallStats. Any thread."""
        return CallStats(
            self.calls_started,
            self.calls_succeeded,
            max(<int64_t> (self.calls_started - self.calls_succeeded) - self.running, 0),
            self.clock.wall_time(self.stream_at),
        )

    def drain(self, bytes reason not None=b""):
        """Take no new streams on: GOAWAY in two steps; the connection ends with its last call.

        `reason` goes along as debug data. No effect when it drains already.
        """
        if not (self.lost or self.connection.draining):
            self.connection.drain(reason)
            self.set_due(DRAIN, self.clock.now() + DRAIN_SECONDS)
            self.changed()

    def finish_drain(self):
        """The second step of `drain`, when the PING was not answered in time."""
        if not self.lost and self.connection.drain_ping is not None:
            self.connection.finish_drain()
            self.changed()

    def go_away(self, uint32_t code, bytes data not None):
        """Send GOAWAY with a reason: no new streams; those that were taken on go on."""
        if not self.lost:
            self.connection.goaway(code, data)
            self.changed()

    def refuse_streams(self, refusal):
        """Ask `refusal()` of each new stream whether it is to be refused; None: take them."""
        self.refusal = refusal
        self.max_running = self.stream_limit if refusal is None else 0

    def cancel_calls(self):
        """End every call that runs with CANCELLED."""
        self.end_calls(1, "the server shuts down")

    cdef int end_calls(self, int code, str reason) except -1:
        for stream in self.connection.streams():
            call = (<Stream> stream).sink
            if isinstance(call, ServerContext):
                (<ServerContext> call).answer(code, reason, None, None)
                (<ServerContext> call).gone = True
                call._stop()
        return self.changed()

    # ------------------------------------------------------------------ the life of a connection

    cdef int shake_hands(self) except -1:
        """The client speaks HTTP/2: what looks after its connection begins."""
        self.shaken = True
        self.due[<int> HANDSHAKE] = 0
        self.begin_keepalive()
        if self.rules.max_idle:
            self.set_due(IDLE, self.read_at + self.rules.max_idle)
        self.server.handshake_done(self)
        return self.settle_timer()

    cdef int time_came(self, int which, double now) except -1:
        if which == HANDSHAKE:
            self.connection.count_limit("handshake_timeout")
            self.connection.note_failure(
                "no HTTP/2 preface and SETTINGS in time (handshake_timeout)")
            log.info("%r: dropped: %s", self, self.connection.failure)
            self.abort()
        elif which == DRAIN:
            self.finish_drain()
        elif which == IDLE:
            self.look_whether_idle(now)
        elif which == AGE:
            self.grow_old(now)
        else:
            return CallHost.time_came(self, which, now)
        return 0

    cdef int look_whether_idle(self, double now) except -1:
        """Let the connection go if it had no call for max_connection_idle."""
        cdef double since = self.idle_at
        if self.running or self.connection.open_streams:
            since = now
        if now - since < self.rules.max_idle:
            return self.set_due(IDLE, since + self.rules.max_idle)
        self.connection.count_limit("max_connection_idle")
        self.drain(b"max_idle")
        return 0

    cdef int grow_old(self, double now) except -1:
        """Let the connection go for its age; later what is left of it."""
        if not self.aged:
            self.aged = True
            self.connection.count_limit("max_connection_age")
            self.drain(b"max_age")
            if self.rules.max_age_grace >= 0:
                self.set_due(AGE, now + self.rules.max_age_grace)
            return 0
        self.connection.count_limit("max_connection_age_grace")
        self.end_calls(14, "the connection was too old (max_connection_age), and its grace is over")
        self.finish_drain()
        return self.set_due(CLOSING, now + LAST_SECONDS)

    cdef int judge_pings(self) except -1:
        """PINGs came: see that they are not too many (gRFC A8)."""
        cdef uint64_t count = self.connection.pings_received - self.pings_seen
        cdef double interval = self.rules.min_ping_interval
        self.pings_seen = self.connection.pings_received
        if interval == 0:
            return 0
        if not (self.connection.open_streams or self.rules.permit_pings_without_calls):
            interval = max(interval, NO_CALLS_PING_INTERVAL)
        if self.connection.answered:
            # Something was sent since: the first of them may well ask how long that took.
            self.connection.answered = False
            self.strikes = 0
            self.last_ping = self.read_at
            count -= 1
        if count and (self.last_ping == 0 or self.read_at - self.last_ping >= interval):
            self.last_ping = self.read_at
            count -= 1
        if count == 0:
            return 0
        self.last_ping = self.read_at
        self.strikes += <int> min(count, <uint64_t> MOST_STRIKES)
        if self.strikes >= MOST_STRIKES:
            self.connection.count_limit("min_ping_interval")
            self.connection.give_up(
                ENHANCE_YOUR_CALM, b"too_many_pings",
                f"too many PINGs: they are to be {self.rules.min_ping_interval:g} seconds apart "
                "(min_ping_interval)")
        return 0

    # ------------------------------------------------------------------ streams become calls

    cdef Sink accept(self, Stream stream):
        cdef ServerContext call
        cdef Handler handler
        cdef tuple coders
        if not stream.head_received or stream.link == NULL:
            return IGNORE
        if self.running >= self.max_running and self.refuses():
            # libnghttp2 counts open streams; a handler that outlives its stream counts here.
            if self.running >= self.stream_limit:
                self.connection.count_limit("max_concurrent_streams")
            self.connection.refuse_stream(stream)
            return IGNORE
        call = ServerContext.__new__(ServerContext)
        call.stream = stream
        call.wire = self.wire
        call.host = self
        call.io = self
        call.loop = self.loop
        if self.access_log:
            call.began = self.clock.now()
        if not call.wire.read_head(call):
            return refused(call)
        self.calls_started += 1
        handler = self.find_handler(stream)
        if handler is None:
            path = stream.head.get(b":path") or b""
            call.wire.write_status(
                call, 12,
                f"there is no method {path[:256].decode('ascii', 'backslashreplace')!r} here",
                None, None)
            return refused(call)
        call.handler = handler
        if call.subtype is None:
            call.decode = handler.decode
            call.encode = handler.encode
        else:
            coders = handler.coders(call.subtype)
            if coders is None:
                text = f"there is no codec for application/grpc+{call.subtype[:64]} here"
                call.subtype = None     # not to be echoed: any text may stand there
                call.wire.write_status(call, 12, text, None, None)
                return refused(call)
            call.decode, call.encode = coders
        if call.timeout == 0:
            call.wire.write_status(call, 4, "the deadline of the call passed", None, None)
            return refused(call)
        if self.calls is not None:
            if self.calls.running >= self.calls.limit:
                self.connection.count_limit("max_concurrent_calls")
                call.wire.write_status(
                    call, 8, f"the server has {self.calls.limit} calls already "
                    "(max_concurrent_calls)", None, None)
                return refused(call)
            self.calls.running += 1
        call.max_receive_bytes = stream.max_receive_bytes
        call.context = PyContext_Copy(self.context)
        self.running += 1
        if call.timeout >= 0:
            call.expiry = self.clock.now() + call.timeout
            self.connection.arm(stream, call.expiry)
        if self.compression is not None:
            call.own_compression = negotiate(call, self.compression)
        return call

    cdef bint refuses(self) except -1:
        """Whether a stream has no place here."""
        return self.running >= self.stream_limit or (self.refusal is not None and self.refusal())

    cdef Handler find_handler(self, Stream stream):
        """The handler for the path of a request, or None."""
        cdef HeaderBlock head = stream.head
        cdef Py_ssize_t index = head.find(b":path", 5)
        if index < 0:
            return None
        found = self.paths.get(head, index)
        if found is None:
            found = self.handlers.get(head.value_at(index))
            if found is not None:
                self.paths.put(head, index, found)
        return found

    # ------------------------------------------------------------------ handlers

    cdef int start(self, ServerContext call) except -1:
        if call.handler.threaded and call.handed_on is None and self.interceptors is None:
            return self.start_in_thread(call)
        self.waiting.append(call)
        # Where tasks start eagerly, `received` starts the worker after all that came together; what
        # comes back from a thread did not come with the others.
        if not self.worker_scheduled and not (EAGER and self.held and call.handed_on is None):
            self.spawn()
        return 0

    cdef int start_in_thread(self, ServerContext call) except -1:
        cdef ThreadCall job = make_thread_call(call)
        call.job = job
        if not self.put_job(job):
            self.connection.count_limit("max_waiting_calls")
            call.answer(8, self.pool.refusal(), None, None)
            call._stop()
        return 0

    cdef bint put_job(self, Job job) except -1:
        if self.pool is None:
            self.pool = self.server.worker_pool()
        return self.pool.put(job)

    cdef int put_awaited(self, ServerContext call) except -1:
        """Queue the handler that the call's coroutine has begun to wait for."""
        cdef ThreadCall job = call.job
        if not self.put_job(job):
            self.connection.count_limit("max_waiting_calls")
            job.refuse(ResourceExhausted(self.pool.refusal()))
        return 0

    cdef object run_in_thread(self, ServerContext call, object request):
        cdef ThreadCall job = make_thread_call(call)
        job.awaited = True
        job.request = request
        # `advance` puts it in the queue: now this thread has the call's context.
        call.job = job
        return await_thread(call, job)

    cdef int spawn(self) except -1:
        cdef Worker worker = Worker.__new__(Worker)
        worker.driver = self
        self.worker_scheduled = True
        if EAGER:
            # Not at once: workers that each start the next would nest as deep as calls wait.
            self.loop.call_soon(self.run_worker, worker)
        else:
            worker.task = asyncio.Task(worker, loop=self.loop)
        return 0

    def run_worker(self, Worker worker):
        """Start a worker's task at once."""
        worker.task = asyncio.Task(worker, loop=self.loop, eager_start=True)

    cdef int cancel(self, ServerContext call) except -1:
        cdef Worker worker = call.worker
        if worker is not None and worker.task is not None:
            worker.task.cancel()
        return 0


# A worker looks at the clock each time it has run so many handlers, and lets the loop turn when it
# ran for so long since its first look.
cdef int CALLS_A_LOOK = 16


cdef class Worker:
    """The coroutine of a task that runs handlers."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.advance(None)

    def send(self, value):
        """The coroutine protocol: go on."""
        return self.advance(None)

    def throw(self, kind, value=None, traceback=None):
        """The coroutine protocol: the handler that waits is cancelled, or what it awaits failed."""
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        return self.advance(value)

    def close(self):
        """The coroutine protocol: the loop is gone; so is the handler that waits."""
        if self.current is not None:
            coroutine, self.current.coroutine = self.current.coroutine, None
            if coroutine is not None:
                coroutine.close()
            self.current = None

    cdef object advance(self, object error):
        cdef ServerDriver driver = self.driver
        cdef ServerContext call = self.current
        cdef PyObject *result
        cdef PySendResult outcome
        cdef double began = 0
        cdef int since = 0
        driver.held += 1
        try:
            while True:
                if call is None:
                    if self.parked or not driver.waiting:
                        break
                    call = driver.waiting.popleft()
                    if call.state != WAITING:
                        call = None
                        continue
                    if call.peer_compression is not None and not call.opens_request():
                        driver.waiting.appendleft(call)
                        return None
                    self.current = call
                result = NULL
                try:
                    outcome = resume(call, error, &result)
                except BaseException as failure:
                    error = None
                    call.fail(failure)
                else:
                    error = None
                    value = <object> result
                    drop(result)
                    if outcome == PYGEN_NEXT:
                        if not self.parked:
                            self.park(call)
                        if call.job is not None and call.job.pool is None:
                            driver.put_awaited(call)
                        return value
                    call.complete(value)
                self.current = call = None
                since += 1
                if since == CALLS_A_LOOK and driver.waiting and not self.parked:
                    since = 0
                    # Other connections have their turn; the task goes on in the next one.
                    if began == 0:
                        began = driver.clock.now()
                    elif driver.clock.now() - began > TURN_SECONDS:
                        return None
                if driver.waiting and not self.parked and self.asked_to_stop():
                    # The handler cancelled its own task, and returned before that took effect: it
                    # would hit the next one.
                    self.parked = True
                    driver.spawn()
        finally:
            driver.held -= 1
            if not driver.held:
                driver.flush()
        if not self.parked:
            driver.worker_scheduled = False
        raise StopIteration

    def asked_to_stop(self):
        """Whether this worker's task was cancelled from within."""
        if self.task is None:
            self.task = asyncio.current_task(self.driver.loop)
        return self.task.cancelling() > 0

    def park(self, ServerContext call):
        """This handler waits: the worker is its own from now on."""
        self.parked = True
        call.worker = self
        if self.task is None:
            self.task = asyncio.current_task(self.driver.loop)
        self.driver.worker_scheduled = False
        if self.driver.waiting:
            self.driver.spawn()


cdef extern from *:
    """
    static void gyr_drop(PyObject *object) { Py_XDECREF(object); }
    """
    void drop "gyr_drop" (PyObject *object)


cdef extern from *:
    """
    static __thread PyObject *gyr_running = NULL;
    """
    PyObject *running "gyr_running"     # the call whose handler this thread runs, of `async def`


def open_running_scope():
    """The first channel is made; when a handler does that, its calls belong to the call that it
    serves. Others find their scope when they go on."""
    cdef ServerContext call
    if running != NULL:
        call = <ServerContext> running
        if call.scope is None:
            call.open_scope()


at_first_channel(open_running_scope)


cdef PySendResult resume(ServerContext call, object error, PyObject **result) except? PYGEN_ERROR:
    """Run the handler until it waits or returns, in the call's own context."""
    global running
    cdef object context = call.context
    cdef PyObject *outer
    if call.context_lent:
        # Cancelled while the handler runs: what awaits it waits until it has returned.
        return resume_here(call, error, result)
    PyContext_Enter(context)
    outer = running
    running = <PyObject *> call
    try:
        if has_channels and call.scope is None:
            call.open_scope()
        return resume_here(call, error, result)
    finally:
        running = outer
        PyContext_Exit(context)


cdef PySendResult resume_here(ServerContext call, object error,
                              PyObject **result) except? PYGEN_ERROR:
    if call.coroutine is None:
        call.begin()
        if not PyCoro_CheckExact(call.coroutine) and not hasattr(call.coroutine, "send"):
            call.coroutine = iterate(call.coroutine)
    if error is None:
        return PyIter_Send(call.coroutine, None, result)
    try:
        value = call.coroutine.throw(error)
    except StopIteration as stop:
        hand_over(stop.value, result)
        return PYGEN_RETURN
    hand_over(value, result)
    return PYGEN_NEXT


cdef void hand_over(object value, PyObject **result) noexcept:
    keep(value)
    result[0] = <PyObject *> value


cdef extern from *:
    """
    static void gyr_keep(PyObject *object) { Py_INCREF(object); }
    """
    void keep "gyr_keep" (object value)


cdef object iterate(awaitable):
    """An awaitable that is no coroutine, as something that can be sent to."""
    async def wait():
        return await awaitable
    return wait()


collections.abc.Coroutine.register(Worker)


class ServerProtocol(ServerDriver, asyncio.BufferedProtocol):
    """A ServerDriver as asyncio wants protocols to be."""

    __slots__ = ()
