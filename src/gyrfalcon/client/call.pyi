import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Coroutine, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .._core.connection import Connection
from .._core.stream import Sink
from ..rpc.codec import Codec
from ..rpc.compression import Compression
from ..rpc.metadata import Metadata, MetadataLike
from ..rpc.method import Method
from ..rpc.peer import Peer
from ..rpc.stats import CallStats
from ..rpc.status import Status
from ..transport.clock import Clock
from ..transport.interception import Interceptors
from ..transport.propagation import Nested
from ..transport.upkeep import KeptDriver, Rules
from .credentials import CallCredentials
from .subchannel import Subchannel

_Req = TypeVar("_Req")
_Res = TypeVar("_Res")
_Req_contra = TypeVar("_Req_contra", contravariant=True)
_Res_co = TypeVar("_Res_co", covariant=True)

log: logging.Logger

class ClientDriver(KeptDriver):
    """The client's side of one connection. `owner` is told of its beginning and end."""

    def __init__(
        self,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        owner: Subchannel,
        clock: Clock | None = None,
        rules: Rules | None = None,
    ) -> None: ...
    def call_stats(self) -> CallStats: ...
    @property
    def speaks_tls(self) -> bool: ...
    @property
    def has_room(self) -> bool: ...
    @property
    def takes_calls(self) -> bool: ...
    def cancel_calls(self) -> None: ...
    def retire(self) -> None: ...

class CallPlace:
    """A channel, as its calls see it: the settings they begin with and where they go.

    The part of `Channel` that every call goes through.
    """

    def __init__(
        self,
        *,
        target_name: str,
        default_timeout: float,
        max_receive_bytes: int,
        max_send_bytes: int,
        compression: Compression | None,
        clock: Clock,
        interceptors: Interceptors | None = None,
        propagate: tuple[str, ...] | None = None,
        credentials: CallCredentials | None = None,
    ) -> None: ...
    @property
    def credentials(self) -> CallCredentials | None: ...
    @property
    def interceptors(self) -> Interceptors | None: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def closed(self) -> bool: ...
    @property
    def target_name(self) -> str: ...
    def set_direct(self, driver: ClientDriver | None) -> None: ...
    def set_closed(self) -> None: ...
    @property
    def limits_met(self) -> dict[str, int]: ...
    def count_limit(self, name: str) -> None: ...
    def call_stats(self) -> CallStats: ...
    def bind_loop(self) -> None: ...
    def codec_for(self, method: Method[Any, Any]) -> Codec: ...
    def authorize(self, credentials: CallCredentials) -> Interceptors:
        """The interceptors of a call with these credentials (the channel makes them)."""
    def place(self, call: Call) -> None: ...

class CallLink(Sink):
    """What a stream knows of its call: not enough to keep it alive."""

class Call(Nested):
    """One call. It belongs to the loop of its channel.

    Await it for the reply, or iterate it for the replies, as its pattern has it. Cancelling the
    task that waits for a reply cancels the call.
    """

    @property
    def channel(self) -> CallPlace: ...
    @property
    def method(self) -> str:
        """What is called, "/package.Service/Method"."""
    @property
    def peer(self) -> Peer | None:
        """The server's address, as in ServerContext.peer; None before the call has a connection."""
    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock (the clock of the
        channel's network, if it has another), or None."""
    @property
    def reply_compressed(self) -> bool:
        """Whether the reply that was taken last came compressed; False before the first."""
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""
    def cancel(self) -> bool:
        """Cancel the call: the server is told, whoever waits gets Cancelled. False if it is
        over."""
    def done(self) -> bool:
        """Whether the call is over."""
    def cancelled(self) -> bool:
        """Whether the call is over because it was cancelled."""
    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Have `callback(call)` called, by the loop, when the call is over."""
    def initial_metadata(self) -> Coroutine[Any, Any, Metadata]:
        """Await it: the Metadata that came with the response head. Raises the call's RpcError when
        the call ended without one."""
    async def trailing_metadata(self) -> Metadata:
        """The Metadata that came with the status, when the call is over."""
    async def status(self) -> Status:
        """The Status of the call, when it is over. Never raises an RpcError."""
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __class_getitem__(cls, item: Any) -> type[Self]: ...

    # What channels use of a call.
    @property
    def _waits_for_ready(self) -> bool: ...
    @property
    def _metadata_to_send(self) -> Sequence[tuple[str, str | bytes]]: ...
    def _open_on(
        self, driver: ClientDriver, done: Callable[[Status | None], None] | None = None
    ) -> None: ...
    def _fail(self, code: int, message: str) -> None: ...

class UnaryUnaryCall(Call, Generic[_Res_co]):
    """A call with one request and one reply: await it for the reply."""

    def __await__(self) -> Generator[Any, Any, _Res_co]: ...

class ReplyStream(Call, Generic[_Res_co]):
    """A call with many replies: iterate it."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, _Res_co]: ...
    def receive(self) -> Coroutine[Any, Any, _Res_co | None]:
        """Await it: the next reply, None after the last. Raises the call's RpcError."""

class UnaryStreamCall(ReplyStream[_Res_co]):
    """A call with one request and many replies: iterate it, or `receive()` them."""

class StreamUnaryCall(Call, Generic[_Req_contra, _Res_co]):
    """A call with many requests and one reply: `send()` them, then await it for the reply."""

    def __await__(self) -> Generator[Any, Any, _Res_co]: ...
    def send(
        self, request: _Req_contra, *, compress: bool | None = None
    ) -> Coroutine[Any, Any, None]:
        """Await it: one request is taken, as soon as there is room. Raises the call's RpcError,
        or EOFError when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
    def done_sending(self) -> Coroutine[Any, Any, None]:
        """Await it: half-close, no more requests follow."""

class StreamStreamCall(ReplyStream[_Res_co], Generic[_Req_contra, _Res_co]):
    """A call with many requests and many replies, independent of each other: `send()`,
    `done_sending()`, `receive()`, or iterate it."""

    def send(
        self, request: _Req_contra, *, compress: bool | None = None
    ) -> Coroutine[Any, Any, None]:
        """Await it: one request is taken, as soon as there is room. Raises the call's RpcError,
        or EOFError when the server ended the call with OK and takes no more.

        `compress`: False sends this request uncompressed in a call that has a compression."""
    def done_sending(self) -> Coroutine[Any, Any, None]:
        """Await it: half-close, no more requests follow."""

class MultiCallable(Generic[_Req, _Res]):
    """A method of a stub."""

    def __init__(self, channel: CallPlace, method: Method[_Req, _Res]) -> None: ...
    @property
    def channel(self) -> CallPlace: ...
    @property
    def method(self) -> Method[_Req, _Res]: ...
    def __class_getitem__(cls, item: Any) -> type[Self]: ...

class UnaryUnary(MultiCallable[_Req, _Res]):
    """A method with one request and one reply."""

    def __call__(
        self,
        request: _Req,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> UnaryUnaryCall[_Res]:
        """Make a call. `timeout` in seconds; `metadata` a mapping or pairs."""

class UnaryStream(MultiCallable[_Req, _Res]):
    """A method with one request and many replies."""

    def __call__(
        self,
        request: _Req,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> UnaryStreamCall[_Res]:
        """Make a call. `timeout` in seconds; `metadata` a mapping or pairs."""

class StreamUnary(MultiCallable[_Req, _Res]):
    """A method with many requests and one reply."""

    def __call__(
        self,
        requests: Iterable[_Req] | AsyncIterable[_Req] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> StreamUnaryCall[_Req, _Res]:
        """Make a call. `requests`: an iterable or async iterable; None: `send()` them yourself."""

class StreamStream(MultiCallable[_Req, _Res]):
    """A method with many requests and many replies."""

    def __call__(
        self,
        requests: Iterable[_Req] | AsyncIterable[_Req] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> StreamStreamCall[_Req, _Res]:
        """Make a call. `requests`: an iterable or async iterable; None: `send()` them yourself."""

async def pump_requests(call: Call, requests: Iterable[Any] | AsyncIterable[Any]) -> None: ...
