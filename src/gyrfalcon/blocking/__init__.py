"""The blocking face: channels and servers for threads, futures, and the completion queue."""

from .call import Call, StreamStreamCall, UnaryStreamCall
from .channel import Channel
from .completion_queue import CompletionQueue, Event, Operation
from .futures import Future, StreamUnaryFuture
from .methods import MultiCallable, StreamStream, StreamUnary, UnaryStream, UnaryUnary

__all__ = [
    "Call",
    "Channel",
    "CompletionQueue",
    "Event",
    "Future",
    "MultiCallable",
    "Operation",
    "StreamStream",
    "StreamStreamCall",
    "StreamUnary",
    "StreamUnaryFuture",
    "UnaryStream",
    "UnaryStreamCall",
    "UnaryUnary",
]
