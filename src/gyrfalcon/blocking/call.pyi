from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ..client.channel import Channel as AsyncChannel
from ..rpc.metadata import Metadata
from ..rpc.peer import Peer
from ..rpc.status import Status

_T = TypeVar("_T")
_Req_contra = TypeVar("_Req_contra", contravariant=True)
_Res_co = TypeVar("_Res_co", covariant=True)

class Place:
    """What a blocking channel is to its calls: the asyncio channel, and the loop that it runs on.

    Both are made anew in the child of a fork.
    """

    def __init__(self, inner: AsyncChannel) -> None: ...
    def start_loop(self) -> None: ...
    def renew(self, inner: AsyncChannel) -> None: ...
    def shut(self, grace: float | None) -> None: ...
    def drop(self) -> None: ...
    def run(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T: ...
    @property
    def channel(self) -> AsyncChannel: ...

class Call:
    """One call of a blocking channel. Any thread may use it.

    Leaving its `with` block cancels it if it is not over; so does dropping it.
    """

    @property
    def method(self) -> str:
        """What is called, "/package.Service/Method"."""
    @property
    def peer(self) -> Peer | None:
        """The server's address, as in ServerContext.peer; None before the call has a connection."""
    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock, or None."""
    @property
    def reply_compressed(self) -> bool:
        """Whether the reply that was taken last came compressed; False before the first."""
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
    def cancel(self) -> bool:
        """Cancel the call, from any thread: the server is told, whoever waits gets Cancelled.
        False if it is over."""
    def done(self) -> bool:
        """Whether the call is over."""
    def cancelled(self) -> bool:
        """Whether the call is over because it was cancelled."""
    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Have `callback(call)` called when the call is over, in the thread for callbacks, which
        calls them one after another."""
    def initial_metadata(self) -> Metadata:
        """The Metadata that came with the response head; waits for it. Raises the call's RpcError
        when the call ended without one."""
    def trailing_metadata(self) -> Metadata:
        """The Metadata that came with the status; waits until the call is over."""
    def status(self) -> Status:
        """The Status of the call; waits until it is over. Never raises an RpcError."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __class_getitem__(cls, item: Any) -> type[Self]: ...

class ReplyStream(Call, Generic[_Res_co]):
    """A call with many replies: iterate it."""

    def receive(self) -> _Res_co | None:
        """The next reply, None after the last; waits for it. Raises the call's RpcError."""
    def __iter__(self) -> Self: ...
    def __next__(self) -> _Res_co: ...

class UnaryStreamCall(ReplyStream[_Res_co]):
    """A call with one request and many replies: iterate it, or `receive()` them."""

class StreamStreamCall(ReplyStream[_Res_co], Generic[_Req_contra, _Res_co]):
    """A call with many requests and many replies, independent of each other: `send()`,
    `done_sending()`, `receive()`, or iterate it."""

    def send(self, request: _Req_contra, *, compress: bool | None = None) -> None:
        """One request is taken, as soon as there is room. Raises the call's RpcError,
        or EOFError when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
    def done_sending(self) -> None:
        """Half-close: no more requests follow."""
