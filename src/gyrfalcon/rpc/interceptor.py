"""Interceptors: the words in which programs write them. What runs them is native."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .metadata import Metadata, MetadataLike
from .method import Pattern
from .peer import Peer
from .status import StatusCode

if TYPE_CHECKING:
    from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Retry:
    """What a client's interceptor yields to have the call made again: `outcome = yield Retry()`.

    Attributes:
        after: seconds until then. The deadline of the call goes on counting.
    """

    after: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.after < float("inf"):
            raise ValueError(f"Retry(after={self.after!r}): seconds, not below 0, are expected")


class Outcome(Protocol):
    """How a call ended, as an interceptor sees it: what `yield` gives."""

    @property
    def code(self) -> StatusCode:
        """The status code."""
        ...

    @property
    def message(self) -> str:
        """The text of the status."""
        ...

    @property
    def details(self) -> tuple[Message, ...]:
        """The detail messages of the status."""
        ...

    @property
    def error(self) -> BaseException | None:
        """What the caller gets: an RpcError, or on the client another exception that was raised on
        this side; None after OK."""
        ...

    @property
    def initial_metadata(self) -> Metadata:
        """What the server sends, or sent, before the replies."""
        ...

    @property
    def trailing_metadata(self) -> Metadata:
        """What goes, or came, with the status. Changes to it are sent, or seen by the caller."""
        ...

    @property
    def retryable(self) -> bool:
        """Whether `yield` would make the call again: on the client, while nothing of the reply was
        handed to the caller and the requests are still there."""
        ...


class InterceptedCall(Protocol):
    """A call, as its interceptors see it. All of it belongs to the thread they run in."""

    @property
    def method(self) -> str:
        """What is called, "/package.Service/Method"."""
        ...

    @property
    def pattern(self) -> Pattern:
        """Which of its sides sends a stream."""
        ...

    @property
    def is_client(self) -> bool:
        """Whether this is the side that makes the call."""
        ...

    @property
    def metadata(self) -> Metadata:
        """The metadata of the request. Before the `yield` of a client's interceptor: to be sent;
        what a server's interceptor changes the handler sees."""
        ...

    @property
    def peer(self) -> Peer | None:
        """The other side's address; None on the client before the call has a connection."""
        ...

    @property
    def target(self) -> str | None:
        """What the channel calls, with its scheme, "dns:///localhost:50051"; None on servers."""
        ...

    @property
    def sent_bytes(self) -> int:
        """Bytes of the messages that this side has sent, or queued to be sent, so far: compressed
        where they are, without the five bytes that precede each. On the client of this attempt."""
        ...

    @property
    def received_bytes(self) -> int:
        """Bytes of the messages that have come so far, as `sent_bytes`."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
        ...

    @property
    def request(self) -> Any:
        """The request message of a call that has one; None where requests are a stream."""
        ...

    @property
    def state(self) -> dict[Any, Any]:
        """The interceptors' own notes on this call, such as `call.state[self]`."""
        ...

    @property
    def attempt(self) -> int:
        """How often the call was made again: 0 the first time."""
        ...

    def answer(
        self,
        *replies: Any,
        initial_metadata: MetadataLike = None,
        trailing_metadata: MetadataLike = None,
    ) -> None:
        """End the call with OK and these replies, in place of the handler's or server's own.

        For `intercept`, which must return then: before its `yield`, or after it while nothing of
        the reply was handed on. RuntimeError elsewhere, and for other than one reply where the
        method has one.
        """

    def cancel(self) -> None:
        """End the call with CANCELLED."""


# What is yielded is nothing or a Retry; type checkers refuse a bare `yield` of anything but Any.
Interception: TypeAlias = Generator[Any, Outcome, None]
"""What `intercept` returns, written with `def`."""
AsyncInterception: TypeAlias = AsyncGenerator[Any, Outcome]
"""What `intercept` returns, written with `async def`."""


class Interceptor:
    """Sees every call of a channel or of a server, and may change it.

    Derive from it, override what is needed, and pass instances: `Channel(target,
    interceptors=[...])`, `Server(services, interceptors=[...])`; the first is the outermost. One
    instance serves all calls, on servers many at a time; what belongs to one call are local
    variables of `intercept`, and `call.state`.
    """

    def intercept(  # type: ignore[return]  # mypy takes a generator for one of the two only
        self, call: InterceptedCall
    ) -> Interception | AsyncInterception:
        """Runs around the call; a generator with one `yield`, where the call runs.

        Before it: before the call is sent, or before its handler starts. `raise` an RpcError to
        refuse the call, `call.answer(...)` and return to answer it. After it the call is over, and
        `outcome = yield` says how; an RpcError that is raised then takes the outcome's place. On
        the client a further `yield` makes the call again, if `outcome.retryable`.

        With `async def` it may await. On the server it then runs in the handler's own task, on the
        client in a task of its own; blocking channels take none of these.

        With `def` it must not block, except on a blocking channel, where it holds up its own call
        alone.

        Any other exception: on the server the call ends with UNKNOWN without its text, and it is
        logged; on the client it is raised to the caller as it is.
        """
        yield

    def request(self, call: InterceptedCall, message: Any) -> Any:
        """Each request message passes through here, outermost interceptor first: return it, or
        another. On the client before it is encoded, on the server after it was decoded. May raise
        as `intercept`. For a `def` handler it runs in the handler's thread."""
        return message

    def reply(self, call: InterceptedCall, message: Any) -> Any:
        """Each reply message passes through here, innermost interceptor first, as `request`."""
        return message

    def attempt_started(self, call: InterceptedCall) -> None:
        """On the client: an attempt at the call begins, and looks for a connection. Must not block.

        One call makes several when an interceptor has it made again, and when no server took
        notice of it, where it goes out again by itself. An error in here is logged.
        """

    def attempt_ended(self, call: InterceptedCall, outcome: Outcome) -> None:
        """On the client: the attempt is over, before any interceptor hears of it. Must not block.
        An error in here is logged."""

    def answered(self, call: InterceptedCall, outcome: Outcome) -> None:
        """On the server: the call's answer is on its way, as it came out of all interceptors, or
        its client is gone. An error in here is logged."""

    def refused(self, method: str, code: StatusCode, registered: bool) -> None:
        """On the server: a call has ended before its interceptors saw it.

        Its method is not served (`registered` is False, and `method` is any text that a client
        wrote), its head made no sense, its deadline had passed or the client was gone before the
        handler could start. An error in here is logged.
        """


def check_interceptors(interceptors: Iterable[Interceptor]) -> tuple[Interceptor, ...]:
    """The interceptors as a tuple, in their order.

    Raises TypeError for what is no interceptor, and for an `intercept` that is no generator.
    """
    if isinstance(interceptors, Interceptor) or not isinstance(interceptors, Iterable):
        raise TypeError(f"interceptors={interceptors!r}: pass a list of gyrfalcon.Interceptor")
    found = tuple(interceptors)
    for one in found:
        if not isinstance(one, Interceptor):
            hint = ""
            if isinstance(one, type) and issubclass(one, Interceptor):
                hint = ": pass an instance, not the class"
            raise TypeError(f"{one!r} in interceptors is no gyrfalcon.Interceptor{hint}")
        function = inspect.unwrap(one.intercept)
        if not (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            raise TypeError(
                f"{type(one).__name__}.intercept is no generator: it needs a `yield`, where the"
                " call runs"
            )
    return found


def is_async(interceptor: Interceptor) -> bool:
    """Whether `intercept` is written with `async def`."""
    return inspect.isasyncgenfunction(inspect.unwrap(interceptor.intercept))


def refuse_async(interceptors: Iterable[Interceptor]) -> None:
    """Raise TypeError for an interceptor that awaits, where nothing can."""
    for one in check_interceptors(interceptors):
        if is_async(one):
            raise TypeError(
                f"{type(one).__name__}.intercept is `async def`, which a blocking channel cannot"
                " run: write it with `def`"
            )


def overridden(interceptor: Interceptor, name: str) -> Any:
    """A method of an interceptor, bound; None when it is the base class's own."""
    method = getattr(interceptor, name)
    return None if getattr(method, "__func__", None) is getattr(Interceptor, name) else method
