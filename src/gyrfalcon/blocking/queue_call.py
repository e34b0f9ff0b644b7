"""A call of a QueueServer as threads have it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ..rpc.compression import Compression
from ..rpc.metadata import Metadata, MetadataLike
from ..rpc.method import Method
from ..rpc.peer import Peer
from .completion_queue import CompletionQueue, Operation
from .served_call import ServedCall, Step, Ticket

if TYPE_CHECKING:
    from .lines import Lines

Req = TypeVar("Req")
Res = TypeVar("Res")

_MISSING = object()


class QueueCall(Generic[Req, Res]):
    """A call that a `QueueServer` was asked for: the result of the request's event.

    Reading, writing and finishing are operations with a tag each: they return at once, and their
    events come to the queue that the call was asked for with. At most one read and one write are
    under way at a time (RuntimeError). After `finish` there are no more operations (RuntimeError).
    When the client is gone, or the deadline has passed, the events of operations are not ok.

    Any thread may use it. A call that is dropped without being finished ends with UNKNOWN and a
    line in the log.
    """

    def __init__(
        self,
        served: ServedCall,
        method: Method[Req, Res],
        queue: CompletionQueue,
        lines: Lines,
    ) -> None:
        # Made when somebody asked for the call and it has come (loop thread).
        self._served = served
        self._context = served.ctx
        self._method = method
        self._queue = queue
        self._lines = lines
        self._lock = threading.Lock()
        # For the loop's half, which knows when they end.
        self.reading = False
        self.writing = False
        self._head_sent = False
        self._finished = False

    # ------------------------------------------------------------------ what came

    @property
    def request(self) -> Req:
        """The request message. RuntimeError for methods with many: `read` them."""
        if self._method.pattern.client_streaming:
            raise RuntimeError(f"{self._method.path} has many requests: read() them")
        request: Req = self._served.request
        return request

    @property
    def method(self) -> Method[Req, Res]:
        """What was called."""
        return self._method

    @property
    def metadata(self) -> Metadata:
        """What the client sent."""
        return self._context.metadata

    @property
    def peer(self) -> Peer:
        """The client's address, as in `ServerContext.peer`."""
        return self._context.peer

    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
        return self._context.deadline

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        return self._context.time_remaining()

    @property
    def cancelled(self) -> bool:
        """Whether the call is over for the client: cancelled, past its deadline or disconnected."""
        return self._context.cancelled

    # ------------------------------------------------------------------ what goes

    @property
    def trailing_metadata(self) -> Metadata:
        """Metadata to be sent with the status; fill it in before `finish`."""
        return self._context.trailing_metadata

    @trailing_metadata.setter
    def trailing_metadata(self, metadata: MetadataLike) -> None:
        self._context.trailing_metadata = metadata

    @property
    def compression(self) -> str:
        """The name of the compression of the replies; set it before the first of them."""
        return self._context.compression

    @compression.setter
    def compression(self, compression: Compression | str | None) -> None:
        self._context.compression = compression

    def send_initial_metadata(self, metadata: MetadataLike = None) -> None:
        """Send the head of the response now, with this metadata. It has no event.

        Without it the head goes with the first reply. RuntimeError when it was sent.
        """
        checked = Metadata(metadata)
        with self._lock:
            if self._head_sent or self._finished:
                raise RuntimeError("initial metadata can be sent once, before the first reply")
            self._head_sent = True
        self._lines.put(self._served.put_head, checked)

    # ------------------------------------------------------------------ operations

    def read(self, tag: object) -> None:
        """Ask for the next request message: the event's result.

        At the end of the client's stream the event is not ok and its result None. RuntimeError for
        methods with one request.
        """
        if not self._method.pattern.client_streaming:
            raise RuntimeError(f"{self._method.path} has one request: it is call.request")
        ticket = self._operate(Operation.READ, tag)
        if ticket is not None:
            self._lines.put(self._served.read, ticket)

    def write(self, message: Res, tag: object, *, compress: bool = True) -> None:
        """Send one reply. The event tells that there is room for the next.

        `compress`: False sends this reply uncompressed in a call that has a compression.
        RuntimeError for methods with one reply, TypeError for a message of another type.
        """
        if not self._method.pattern.server_streaming:
            raise RuntimeError(f"{self._method.path} has one reply: finish(reply, tag)")
        self._check_message("write", message)
        ticket = self._operate(Operation.WRITE, tag)
        if ticket is not None:
            self._lines.put(self._served.do, Step(ticket, message, compress=compress))

    @overload
    def finish(self, reply: Res, tag: object, *, compress: bool = True) -> None: ...
    @overload
    def finish(self, *, tag: object) -> None: ...
    @overload
    def finish(self, *, error: Exception, tag: object) -> None: ...
    def finish(
        self,
        reply: Any = None,
        tag: object = _MISSING,
        *,
        error: Exception | None = None,
        compress: bool = True,
    ) -> None:
        """End the call: with its reply, with an error, or, when it has many replies, with neither.

        A reply given for a method with many is the last of them. The event is ok when the answer
        was handed to the connection. `compress` is as in `write`. A write that is under way goes
        first; a read that is under way ends. An error that is no RpcError becomes UNKNOWN and is
        logged. TypeError for arguments that do not fit.
        """
        if tag is _MISSING:
            raise TypeError("finish needs a tag, as in finish(reply, tag)")
        if error is not None:
            if reply is not None:
                raise TypeError("finish takes a reply or an error=, not both")
            if not isinstance(error, Exception):
                raise TypeError(
                    f"finish(error={error!r}): it must be an exception, as in "
                    "finish(error=gyr.NotFound('no such order'), tag=tag)"
                )
        elif reply is not None or not self._method.pattern.server_streaming:
            self._check_message("finish", reply)
        ticket = self._operate(Operation.FINISH, tag)
        if ticket is not None:
            self._lines.put(
                self._served.do, Step(ticket, reply, last=True, error=error, compress=compress)
            )

    def notify_when_done(self, tag: object) -> None:
        """Ask to be told when the call is over: the event's result is whether it was cancelled.

        At any time, any number of times; at once when it is over.
        """
        if self._lines.reserve(self._queue):
            ticket = Ticket(self._queue, Operation.DONE, tag, self)
            self._lines.put(self._served.notify, ticket)

    # ------------------------------------------------------------------ inside

    def _operate(self, operation: Operation, tag: object) -> Ticket | None:
        """Count an operation of which one at a time may be under way; None: it is of no use."""
        with self._lock:
            if self._finished:
                raise RuntimeError(f"this call of {self._method.path} was finished")
            read, write = operation is Operation.READ, operation is Operation.WRITE
            if (read and self.reading) or (write and self.writing):
                raise RuntimeError(
                    f"a {operation.value} of this call of {self._method.path} is under way: wait "
                    "for its event before the next"
                )
            if not self._lines.reserve(self._queue):
                return None
            if read:
                self.reading = True
            elif write:
                self.writing = self._head_sent = True
            else:
                self._finished = True
            return Ticket(self._queue, operation, tag, self)

    def _check_message(self, verb: str, message: object) -> None:
        wanted = self._method.response
        if not isinstance(message, wanted):
            raise TypeError(
                f"{verb}({message!r:.100}): {self._method.path} answers with a {wanted.__name__}"
            )

    def __del__(self) -> None:
        if not self._finished and not self._served.over:
            self._lines.put(self._served.drop)

    def __repr__(self) -> str:
        return f"<QueueCall {self._method.path} from {self.peer}>"
