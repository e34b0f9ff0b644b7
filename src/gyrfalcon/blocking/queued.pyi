from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..transport.blocking import SharedLoop
from ..transport.waiting import Parking
from .call import Call, Place
from .completion_queue import CompletionQueue

_Req_contra = TypeVar("_Req_contra", contravariant=True)
_Res_co = TypeVar("_Res_co", covariant=True)

class QueueParking(Parking):
    """What waits for a step on behalf of a queue."""

    def complete(self) -> None: ...
    def complete_outside(self) -> None: ...

class QueuedCall(Call, Generic[_Req_contra, _Res_co]):
    """A call whose steps are started with a tag each, and end as events of its queue.

    Any thread may start steps; one of each kind may be under way.
    """

    def read(self, tag: object) -> None:
        """Ask for the next reply. Its event's `result()` is the reply; after the last, `ok` is
        False and the result None. Raises RuntimeError while another read is under way."""
    def write(self, request: _Req_contra, tag: object, *, compress: bool | None = None) -> None:
        """Send a request. The event tells that it was taken and there is room for the next.

        `compress`: False sends it uncompressed in a call that has a compression."""
    def done_sending(self, tag: object) -> None:
        """Half-close: no more requests follow."""
    def finish(self, tag: object) -> None:
        """Ask for the end of the call. The event's `result()` is the reply of a method that has
        one, else the Status; it raises the call's RpcError."""

def start_call(
    loop: SharedLoop,
    channel: Place,
    queue: CompletionQueue,
    tag: object,
    open_call: Callable[[], Any],
) -> QueuedCall[Any, Any]: ...
