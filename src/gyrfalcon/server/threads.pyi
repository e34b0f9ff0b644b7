from typing import Any, TypeVar

from .call import RequestStream, ServerContext
from .pool import Job

_T_co = TypeVar("_T_co", covariant=True)

class ThreadCall(Job):
    """A call with one request and one reply."""

class ThreadStream(ThreadCall):
    """A call with many requests, many replies, or both. It keeps its thread to the end."""

class ThreadRequests(RequestStream[_T_co]):
    """The requests of a call as its `def` handler iterates them, in its own thread or another."""

async def wait_for_thread(call: ServerContext, job: ThreadCall) -> Any:
    """The reply of a handler that interceptors surround; the replies of a stream are sent.

    A thread cannot be interrupted: when the call is cancelled, its handler counts until it returns.
    """
