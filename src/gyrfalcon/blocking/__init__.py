"""gRPC for programs of threads: servers, completion queues, callbacks.

Names are loaded when they are first used, as those of `gyrfalcon` are.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import Finish as Finish
    from .callbacks import callback as callback
    from .completion_queue import CompletionQueue as CompletionQueue
    from .completion_queue import Event as Event
    from .completion_queue import Operation as Operation
    from .queue_call import QueueCall as QueueCall
    from .queue_server import QueueServer as QueueServer
    from .server import Server as Server
    from .server import ServerOptions as ServerOptions

__all__ = [
    "CompletionQueue",
    "Event",
    "Finish",
    "Operation",
    "QueueCall",
    "QueueServer",
    "Server",
    "ServerOptions",
    "callback",
]

# No module has the name of what it exports: importing it would hide that.
_HOMES = {
    "CompletionQueue": "completion_queue",
    "Event": "completion_queue",
    "Finish": "callbacks",
    "Operation": "completion_queue",
    "QueueCall": "queue_call",
    "QueueServer": "queue_server",
    "Server": "server",
    "ServerOptions": "server",
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
