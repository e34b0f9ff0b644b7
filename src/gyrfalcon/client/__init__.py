"""Channels, the calls that are made on them, and the methods of stubs."""

from .call import (
    Call,
    StreamStream,
    StreamStreamCall,
    StreamUnary,
    StreamUnaryCall,
    UnaryStream,
    UnaryStreamCall,
    UnaryUnary,
    UnaryUnaryCall,
)
from .channel import Channel

__all__ = [
    "Call",
    "Channel",
    "StreamStream",
    "StreamStreamCall",
    "StreamUnary",
    "StreamUnaryCall",
    "UnaryStream",
    "UnaryStreamCall",
    "UnaryUnary",
    "UnaryUnaryCall",
]
