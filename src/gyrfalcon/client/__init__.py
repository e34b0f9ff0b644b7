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
from .credentials import BearerToken, CallCredentials, CallInfo

__all__ = [
    "BearerToken",
    "Call",
    "CallCredentials",
    "CallInfo",
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
