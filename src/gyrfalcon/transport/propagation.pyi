from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, final

from .waiting import Waiting

CURRENT: ContextVar[Any]

@final
class CallScope:
    """The life of a call that is being served, as calls made within know it.

    It outlives its call with the contexts that hold it, so it holds nothing of the call itself.
    """

class Nested(Waiting):
    """A call that may be made while another is served."""

def at_first_channel(callback: Callable[[], object]) -> None:
    """Have `callback()` called when the first channel of the process is made."""
