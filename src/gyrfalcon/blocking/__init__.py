"""gRPC for programs of threads: channels, servers, futures, completion queues, callbacks.

Names are loaded when they are first used, as those of `gyrfalcon` are.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import Call as Call
    from .call import ReplyStream as ReplyStream
    from .call import StreamStreamCall as StreamStreamCall
    from .call import UnaryStreamCall as UnaryStreamCall
    from .callbacks import Finish as Finish
    from .callbacks import callback as callback
    from .channel import Channel as Channel
    from .completion_queue import CompletionQueue as CompletionQueue
    from .completion_queue import Event as Event
    from .completion_queue import Operation as Operation
    from .futures import Future as Future
    from .futures import StreamUnaryFuture as StreamUnaryFuture
    from .methods import MultiCallable as MultiCallable
    from .methods import StreamStream as StreamStream
    from .methods import StreamUnary as StreamUnary
    from .methods import UnaryStream as UnaryStream
    from .methods import UnaryUnary as UnaryUnary
    from .queue_call import QueueCall as QueueCall
    from .queue_server import QueueServer as QueueServer
    from .queued import QueuedCall as QueuedCall
    from .server import Server as Server
    from .server import ServerOptions as ServerOptions

__all__ = [
    "Call",
    "Channel",
    "CompletionQueue",
    "Event",
    "Finish",
    "Future",
    "MultiCallable",
    "Operation",
    "QueueCall",
    "QueueServer",
    "QueuedCall",
    "ReplyStream",
    "Server",
    "ServerOptions",
    "StreamStream",
    "StreamStreamCall",
    "StreamUnary",
    "StreamUnaryFuture",
    "UnaryStream",
    "UnaryStreamCall",
    "UnaryUnary",
    "callback",
]

# No module has the name of what it exports: importing it would hide that.
_HOMES = {
    "Call": "call",
    "Channel": "channel",
    "CompletionQueue": "completion_queue",
    "Event": "completion_queue",
    "Finish": "callbacks",
    "Future": "futures",
    "MultiCallable": "methods",
    "Operation": "completion_queue",
    "QueueCall": "queue_call",
    "QueueServer": "queue_server",
    "QueuedCall": "queued",
    "ReplyStream": "call",
    "Server": "server",
    "ServerOptions": "server",
    "StreamStream": "methods",
    "StreamStreamCall": "call",
    "StreamUnary": "methods",
    "StreamUnaryFuture": "futures",
    "UnaryStream": "methods",
    "UnaryStreamCall": "call",
    "UnaryUnary": "methods",
    "callback": "callbacks",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
