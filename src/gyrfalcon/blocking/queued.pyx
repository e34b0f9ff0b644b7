"""Calls whose steps are events of a completion queue."""
from ..client.call cimport (
    DONE_SENDING,
    RECEIVE,
    RESULT,
    SEND,
    SEND_PLAIN,
    START,
    STATUS,
    Call as AsyncCall,
)
from ..transport.blocking cimport SharedLoop
from ..transport.waiting cimport Operation, Parking
from .call cimport Call, adopt

from ..transport.callbacks import INTERCEPTORS
from .completion_queue import Event, Operation as Kind


cdef class QueueParking(Parking):
    """What waits for a step on behalf of a queue."""
    cdef QueuedCall call
    cdef object queue
    cdef object tag
    cdef object kind
    cdef bint hooked                # interceptors see its message: they may wait

    cdef int fire(self) except -1:
        if not self.ended:
            self.ended = True
            if self.hooked:
                INTERCEPTORS.submit(self.complete_outside)
            else:
                # In a turn of its own: what is woken comes from the midst of an event.
                self.call.loop.call_soon(self.complete)
        return 0

    def complete_outside(self):
        """`complete`, in a thread for interceptors."""
        self.call.loop.enter()
        try:
            self.complete()
        finally:
            self.call.loop.leave()

    def complete(self):
        """Finish the step and tell the queue, unless another step overtook this one."""
        cdef Operation operation = self.operation
        cdef AsyncCall call = self.call.call
        if not call.poll(operation):
            self.ended = False
            self.call.wait_with(self)
            return
        try:
            value = call.finish(operation)
            if operation.kind == STATUS:
                if call.outcome.code != 0:
                    raise call.error()
                value = call.read_status()
        except BaseException as error:
            event = Event(self.tag, self.kind, call=self.call, error=error)
        else:
            ended = self.kind is Kind.READ and value is None
            event = Event(self.tag, self.kind, call=self.call, value=value, ok=not ended)
        self.call.loop.attend(-1)
        self.call.busy.discard(self.kind)
        if not self.call.busy:
            call.channel.release(call)
        self.operation = None
        self.queue.complete(event)


cdef class QueuedCall(Call):
    """A call whose steps are started with a tag each, and end as events of its queue.

    Any thread may start steps; one of each kind may be under way.
    """
    cdef object queue
    cdef set busy

    cdef int wait_with(self, QueueParking parking) except -1:
        cdef AsyncCall call = self.call
        parking.operation.parking = parking
        if call.operations is None:
            call.operations = [parking.operation]
        else:
            call.operations.append(parking.operation)
        return 0

    cdef int begin(self, kind, int step, object payload, tag) except -1:
        """Start a step that the queue has reserved for (inside the loop)."""
        cdef QueueParking parking
        if not self.busy:
            # The program may keep nothing but the tag.
            self.call.channel.hold(self.call)
        self.busy.add(kind)
        self.loop.attend(1)
        parking = QueueParking.__new__(QueueParking)
        parking.call = self
        parking.queue = self.queue
        parking.tag = tag
        parking.kind = kind
        interceptors = self.call.channel.interceptors
        if interceptors is not None:
            parking.hooked = (interceptors.has_replies if step == RECEIVE
                              else interceptors.has_requests and step in (SEND, SEND_PLAIN))
        parking.operation = self.call.operation(step, payload)
        if self.call.poll(parking.operation):
            parking.fire()
        else:
            self.wait_with(parking)
        return 0

    cdef int begin_outside(self, kind, int step, object payload, tag) except -1:
        self.loop.enter()
        try:
            if kind in self.busy:
                raise RuntimeError(
                    f"{self.method}: a {kind.name} is under way already; wait for its event")
            self.queue.reserve()
            return self.begin(kind, step, payload, tag)
        finally:
            self.loop.leave()

    def read(self, tag):
        """Ask for the next reply. Its event's `result()` is the reply; after the last, `ok` is
        False and the result None. Raises RuntimeError while another read is under way."""
        self.begin_outside(Kind.READ, RECEIVE, None, tag)

    def write(self, request, tag, *, compress=None):
        """Send a request. The event tells that it was taken and there is room for the next.

        `compress`: False sends it uncompressed in a call that has a compression."""
        self.begin_outside(Kind.WRITE, self.call.step_to_send(compress), request, tag)

    def done_sending(self, tag):
        """Half-close: no more requests follow."""
        self.begin_outside(Kind.DONE_SENDING, DONE_SENDING, None, tag)

    def finish(self, tag):
        """Ask for the end of the call. The event's `result()` is the reply of a method that has
        one, else the Status; it raises the call's RpcError."""
        self.begin_outside(
            Kind.FINISH, STATUS if self.call.server_streaming else RESULT, None, tag)


def start_call(SharedLoop loop, channel, queue, tag, open_call):
    """Begin a call for a queue. The tag's event: the end of a call with one request and one reply,
    else that it has begun."""
    cdef QueuedCall made
    cdef AsyncCall call
    queue.reserve()
    loop.enter()
    try:
        try:
            call = open_call()
        except BaseException:
            queue.release()
            raise
        made = adopt(QueuedCall.__new__(QueuedCall), call, loop, channel)
        made.queue = queue
        made.busy = set()
        if call.client_streaming or call.server_streaming:
            made.begin(Kind.START, START, None, tag)
        else:
            made.begin(Kind.FINISH, RESULT, None, tag)
        return made
    finally:
        loop.leave()
