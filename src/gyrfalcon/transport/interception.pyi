import logging
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from ..rpc.interceptor import Interceptor
from ..rpc.metadata import Metadata, MetadataLike
from ..rpc.status import StatusCode

log: logging.Logger

class Interceptors:
    """The interceptors of a channel or a server, looked up once."""

    def __init__(self, interceptors: Iterable[Interceptor]) -> None: ...
    @property
    def interceptors(self) -> tuple[Interceptor, ...]: ...
    @property
    def has_async(self) -> bool: ...
    @property
    def has_requests(self) -> bool: ...
    @property
    def has_replies(self) -> bool: ...
    def hooks(self, name: str) -> list[Any]:
        """The methods of that name of those interceptors that have one of their own."""

class CallOutcome:
    """How a call ended, as its interceptors see it (`gyrfalcon.Outcome`)."""

    @property
    def code(self) -> StatusCode:
        """The status code."""
    @property
    def message(self) -> str:
        """The text of the status."""
    @property
    def details(self) -> tuple[Message, ...]:
        """The detail messages of the status."""
    @property
    def error(self) -> BaseException | None:
        """What the caller gets; None after OK."""
    @property
    def initial_metadata(self) -> Metadata:
        """What the server sends, or sent, before the replies."""
    @property
    def trailing_metadata(self) -> Metadata:
        """What goes, or came, with the status."""
    @property
    def retryable(self) -> bool:
        """Whether `yield` would make the call again."""

class Interception:
    """One call on its way through the interceptors (`gyrfalcon.InterceptedCall`)."""

    @property
    def state(self) -> dict[Any, Any]:
        """The interceptors' own notes on this call."""
    @property
    def attempt(self) -> int: ...
    @property
    def pause(self) -> float: ...
    def answer(
        self,
        *replies: Any,
        initial_metadata: MetadataLike = None,
        trailing_metadata: MetadataLike = None,
    ) -> None:
        """End the call with OK and these replies."""
    def resumed(self, value: object, error: BaseException | None) -> None:
        """What was awaited is done: its value, or its exception."""
    def close(self) -> None:
        """The call does not go on: end the generators."""

async def drive(interception: Interception) -> None: ...
