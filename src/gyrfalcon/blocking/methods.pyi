from collections.abc import Iterable
from typing import Any, Generic, Self, TypeVar

from ..client.call import Call as AsyncCall
from ..client.credentials import CallCredentials
from ..rpc.compression import Compression
from ..rpc.metadata import MetadataLike
from ..rpc.method import Method
from ..transport.blocking import SharedLoop
from .call import StreamStreamCall, UnaryStreamCall
from .channel import Channel
from .completion_queue import CompletionQueue
from .futures import Future, StreamUnaryFuture
from .queued import QueuedCall

_Req = TypeVar("_Req")
_Res = TypeVar("_Res")

class MultiCallable(Generic[_Req, _Res]):
    """A method of a blocking stub. Threads may share it."""

    def __init__(self, channel: Channel, method: Method[_Req, _Res]) -> None: ...
    @property
    def channel(self) -> Channel: ...
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
    ) -> _Res:
        """Make a call and wait for its reply. `timeout` in seconds; `metadata` a mapping or pairs.
        Raises the call's RpcError."""
    def future(
        self,
        request: _Req,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> Future[_Res]:
        """Make a call; returns its Future at once."""
    def start(
        self,
        request: _Req,
        *,
        queue: CompletionQueue,
        tag: object,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> QueuedCall[_Req, _Res]:
        """Make a call; returns it at once. When it is over an event with the tag goes to the
        queue, whose `result()` is the reply."""

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
        """Make a call; iterate what it returns. `timeout` in seconds; `metadata` a mapping or
        pairs."""
    def future(
        self,
        request: _Req,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> Future[list[_Res]]:
        """Make a call; returns a Future of the list of its replies at once."""
    def start(
        self,
        request: _Req,
        *,
        queue: CompletionQueue,
        tag: object,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> QueuedCall[_Req, _Res]:
        """Make a call; returns it at once, to be read with tags. An event with this tag tells that
        it has begun."""

class StreamUnary(MultiCallable[_Req, _Res]):
    """A method with many requests and one reply."""

    def __call__(
        self,
        requests: Iterable[_Req],
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> _Res:
        """Make a call with the requests of an iterable, and wait for its reply. An iterator is
        advanced in a thread of its own, in a copy of the caller's context."""
    def future(
        self,
        requests: Iterable[_Req] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> StreamUnaryFuture[_Req, _Res]:
        """Make a call; returns its Future at once. Without requests: `send()` them."""
    def start(
        self,
        requests: Iterable[_Req] | None = None,
        *,
        queue: CompletionQueue,
        tag: object,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> QueuedCall[_Req, _Res]:
        """Make a call; returns it at once, to be written to with tags (or with the requests of an
        iterable). An event with this tag tells that it has begun."""

class StreamStream(MultiCallable[_Req, _Res]):
    """A method with many requests and many replies."""

    def __call__(
        self,
        requests: Iterable[_Req] | None = None,
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> StreamStreamCall[_Req, _Res]:
        """Make a call; iterate what it returns. `requests`: an iterable, whose iterator is advanced
        in a thread of its own; None: `send()` them yourself."""
    def future(
        self,
        requests: Iterable[_Req],
        *,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> Future[list[_Res]]:
        """Make a call; returns a Future of the list of its replies at once."""
    def start(
        self,
        requests: Iterable[_Req] | None = None,
        *,
        queue: CompletionQueue,
        tag: object,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        wait_for_ready: bool = False,
        compression: Compression | str | None = None,
        credentials: CallCredentials | None = None,
    ) -> QueuedCall[_Req, _Res]:
        """Make a call; returns it at once, to be written to and read with tags. An event with this
        tag tells that it has begun."""

def send_requests(loop: SharedLoop, call: AsyncCall, iterator: Iterable[Any]) -> None: ...
def take_reply(call: AsyncCall) -> Any: ...
def collect_replies(loop: SharedLoop, call: AsyncCall, future: Future[Any]) -> None: ...
