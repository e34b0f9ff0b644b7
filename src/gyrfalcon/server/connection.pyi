import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from .._core.connection import Connection
from .._core.stream import Sink
from ..rpc.compression import Compression
from ..rpc.stats import CallStats
from ..transport.clock import Clock
from ..transport.interception import Interceptors
from ..transport.upkeep import Rules
from ..wire.exchange import ServerWire
from .call import CallHost, Handler
from .server import Server

log: logging.Logger

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

class Ignore(Sink):
    """Who hears of a stream that was refused: nobody."""

class CallLimit:
    """How many calls the connections of a server have at once, all together."""

    def __init__(self, limit: int) -> None: ...
    @property
    def limit(self) -> int: ...
    @property
    def running(self) -> int: ...

class ServerDriver(CallHost):
    """The server's side of one connection. `server` is told of its beginning and end.

    `handshake_deadline`: until then, by the clock, the client has to have sent its SETTINGS.
    """

    def __init__(
        self,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        server: Server,
        handlers: dict[bytes, Handler],
        wire: ServerWire,
        context: Context,
        *,
        max_running: int,
        max_send_bytes: int = -1,
        compression: Compression | None = None,
        clock: Clock | None = None,
        access_log: bool = False,
        interceptors: Interceptors | None = None,
        rules: Rules | None = None,
        calls: CallLimit | None = None,
        handshake_deadline: float = 0,
    ) -> None: ...
    @property
    def handshake_deadline(self) -> float: ...
    @property
    def server(self) -> Server: ...
    @property
    def running_calls(self) -> int: ...
    def call_stats(self) -> CallStats: ...
    def drain(self, reason: bytes = b"") -> None: ...
    def finish_drain(self) -> None: ...
    def go_away(self, code: int, data: bytes) -> None: ...
    def refuse_streams(self, refusal: Callable[[], bool] | None) -> None: ...
    def cancel_calls(self) -> None: ...
    def run_worker(self, worker: Worker) -> None: ...

class Worker(Coroutine[Any, None, None]):
    """The coroutine of a task that runs handlers."""

    def __await__(self) -> Generator[Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: None) -> Any: ...
    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    def close(self) -> None: ...
    def asked_to_stop(self) -> bool:
        """Whether this worker's task was cancelled from within."""
    def park(self, call: Any) -> None: ...

def open_running_scope() -> None: ...

class ServerProtocol(ServerDriver, asyncio.BufferedProtocol):
    """A ServerDriver as asyncio wants protocols to be."""
