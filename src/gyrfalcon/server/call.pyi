import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Self, TypeVar, TypeVarTuple

from ..rpc.compression import Compression
from ..rpc.metadata import Metadata, MetadataLike
from ..rpc.method import Method
from ..rpc.peer import Peer
from ..transport.upkeep import KeptDriver
from ..transport.waiting import Waiting

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Ts = TypeVarTuple("_Ts")

log: logging.Logger

class Handler:
    """One method of a service that is served."""

    def __init__(
        self, method: Method[Any, Any], function: Callable[[Any, Any], Any], *, threaded: bool
    ) -> None: ...
    @property
    def method(self) -> Method[Any, Any]: ...
    @property
    def path(self) -> str: ...
    @property
    def function(self) -> Callable[[Any, Any], Any]: ...
    @property
    def client_streaming(self) -> bool: ...
    @property
    def server_streaming(self) -> bool: ...
    @property
    def threaded(self) -> bool: ...

class CallHost(KeptDriver):
    """A connection, as its calls see it."""

class ServerContext(Waiting):
    """What a handler knows of its call, and the way to say more than its reply.

    In a `def` handler the methods block; in an `async def` handler await what they return.
    """

    @property
    def metadata(self) -> Metadata:
        """What the client sent, as Metadata."""
    @property
    def trailing_metadata(self) -> Metadata:
        """Metadata to be sent with the status; fill it in."""
    @trailing_metadata.setter
    def trailing_metadata(self, metadata: MetadataLike) -> None: ...
    @property
    def method(self) -> str:
        """What was called, "/package.Service/Method"."""
    @property
    def peer(self) -> Peer:
        """The client: its address, "ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "unix:", and with
        mutual TLS who it has proved to be."""
    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds on time.monotonic()'s clock (the clock of the
        server's network, if it has another), or None."""
    @property
    def cancelled(self) -> bool:
        """Whether the call is over for the client: cancelled, past its deadline or disconnected."""
    @property
    def compression(self) -> str:
        """The name of the compression of the replies; set it before the first of them."""
    @compression.setter
    def compression(self, compression: Compression | str | None) -> None: ...
    @property
    def compress(self) -> bool:
        """Whether the replies that follow are compressed, where the call has a compression; True.

        Change it between replies to leave some of them as they are."""
    @compress.setter
    def compress(self, compress: bool) -> None: ...
    @property
    def request_compressed(self) -> bool:
        """Whether the request that was taken last came compressed; False before the first."""
    def time_remaining(self) -> float | None:
        """Seconds until the deadline, zero when it has passed; None when there is none."""

    # Not a coroutine to type checkers: a `def` handler calls it without awaiting it.
    def send_initial_metadata(self, metadata: MetadataLike = None) -> Awaitable[None]:
        """Send the head of the response now, with this metadata (a mapping or pairs).

        Without it the head goes with the first reply. RuntimeError when it was sent already.
        """

    # What the blocking servers use of a call, on its loop.
    def _count_limit(self, name: str) -> None: ...
    def _put_head(self, metadata: Metadata) -> None: ...

class RequestStream(Generic[_T_co]):
    """The request messages of a streaming call: iterate it, with `async for` on the loop and with
    `for` in a `def` handler. It raises the call's RpcError when the client will send no more of
    them and did not end the stream. Drop it, or stop iterating, at any time."""

    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Coroutine[Any, Any, _T_co]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> _T_co: ...
    def __class_getitem__(cls, item: Any) -> type[Self]: ...

async def send_replies(call: ServerContext, replies: Any) -> None: ...
async def done() -> None: ...
