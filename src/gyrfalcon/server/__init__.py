"""Servers: services, listeners, the calls that run, and the life of it all."""

from .call import RequestStream, ServerContext
from .observer import ServerObserver
from .server import Server

__all__ = ["RequestStream", "Server", "ServerContext", "ServerObserver"]
