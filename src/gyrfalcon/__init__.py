"""Gyrfalcon: gRPC for Python, from the protocol up.

Names are loaded when they are first used, so that a program that only calls does not load the
server, and code generators load neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from . import blocking as blocking
    from . import services as services
    from . import stats as stats
    from . import telemetry as telemetry
    from . import workers as workers
    from .client import BearerToken as BearerToken
    from .client import Call as Call
    from .client import CallCredentials as CallCredentials
    from .client import CallInfo as CallInfo
    from .client import Channel as Channel
    from .client import StreamStream as StreamStream
    from .client import StreamStreamCall as StreamStreamCall
    from .client import StreamUnary as StreamUnary
    from .client import StreamUnaryCall as StreamUnaryCall
    from .client import UnaryStream as UnaryStream
    from .client import UnaryStreamCall as UnaryStreamCall
    from .client import UnaryUnary as UnaryUnary
    from .client import UnaryUnaryCall as UnaryUnaryCall
    from .rpc import CODECS as CODECS
    from .rpc import COMPRESSIONS as COMPRESSIONS
    from .rpc import JSON as JSON
    from .rpc import PROTOBUF as PROTOBUF
    from .rpc import RAW as RAW
    from .rpc import Aborted as Aborted
    from .rpc import AlreadyExists as AlreadyExists
    from .rpc import AsyncInterception as AsyncInterception
    from .rpc import Cancelled as Cancelled
    from .rpc import Codec as Codec
    from .rpc import Compression as Compression
    from .rpc import CorruptMessageError as CorruptMessageError
    from .rpc import DataLoss as DataLoss
    from .rpc import DeadlineExceeded as DeadlineExceeded
    from .rpc import DeflateCompression as DeflateCompression
    from .rpc import FailedPrecondition as FailedPrecondition
    from .rpc import GzipCompression as GzipCompression
    from .rpc import InterceptedCall as InterceptedCall
    from .rpc import Interception as Interception
    from .rpc import Interceptor as Interceptor
    from .rpc import Internal as Internal
    from .rpc import InvalidArgument as InvalidArgument
    from .rpc import Keepalive as Keepalive
    from .rpc import MessageTooLargeError as MessageTooLargeError
    from .rpc import Metadata as Metadata
    from .rpc import Method as Method
    from .rpc import NotFound as NotFound
    from .rpc import Outcome as Outcome
    from .rpc import OutOfRange as OutOfRange
    from .rpc import Pattern as Pattern
    from .rpc import Peer as Peer
    from .rpc import PermissionDenied as PermissionDenied
    from .rpc import RawCodec as RawCodec
    from .rpc import ResourceExhausted as ResourceExhausted
    from .rpc import Retry as Retry
    from .rpc import RpcError as RpcError
    from .rpc import Service as Service
    from .rpc import ServiceDefinition as ServiceDefinition
    from .rpc import Status as Status
    from .rpc import StatusCode as StatusCode
    from .rpc import Unauthenticated as Unauthenticated
    from .rpc import Unavailable as Unavailable
    from .rpc import Unimplemented as Unimplemented
    from .rpc import Unknown as Unknown
    from .rpc import ZstdCompression as ZstdCompression
    from .rpc import detach as detach
    from .rpc import placeholder as placeholder
    from .server import RequestStream as RequestStream
    from .server import Server as Server
    from .server import ServerContext as ServerContext
    from .server import ServerObserver as ServerObserver
    from .transport.certificates import ClientTLS as ClientTLS
    from .transport.certificates import ServerTLS as ServerTLS
    from .transport.clock import Clock as Clock
    from .transport.clock import ManualClock as ManualClock
    from .transport.faults import Faults as Faults
    from .transport.memory import MemoryNetwork as MemoryNetwork
    from .transport.network import Network as Network

__all__ = [
    "CODECS",
    "COMPRESSIONS",
    "JSON",
    "PROTOBUF",
    "RAW",
    "Aborted",
    "AlreadyExists",
    "AsyncInterception",
    "BearerToken",
    "Call",
    "CallCredentials",
    "CallInfo",
    "Cancelled",
    "Channel",
    "ClientTLS",
    "Clock",
    "Codec",
    "Compression",
    "CorruptMessageError",
    "DataLoss",
    "DeadlineExceeded",
    "DeflateCompression",
    "FailedPrecondition",
    "Faults",
    "GzipCompression",
    "InterceptedCall",
    "Interception",
    "Interceptor",
    "Internal",
    "InvalidArgument",
    "Keepalive",
    "ManualClock",
    "MemoryNetwork",
    "MessageTooLargeError",
    "Metadata",
    "Method",
    "Network",
    "NotFound",
    "OutOfRange",
    "Outcome",
    "Pattern",
    "Peer",
    "PermissionDenied",
    "RawCodec",
    "RequestStream",
    "ResourceExhausted",
    "Retry",
    "RpcError",
    "Server",
    "ServerContext",
    "ServerObserver",
    "ServerTLS",
    "Service",
    "ServiceDefinition",
    "Status",
    "StatusCode",
    "StreamStream",
    "StreamStreamCall",
    "StreamUnary",
    "StreamUnaryCall",
    "UnaryStream",
    "UnaryStreamCall",
    "UnaryUnary",
    "UnaryUnaryCall",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "ZstdCompression",
    "blocking",
    "detach",
    "placeholder",
    "services",
    "stats",
    "workers",
]

_ROOMS = {
    "client": (
        "BearerToken Call CallCredentials CallInfo Channel StreamStream StreamStreamCall "
        "StreamUnary StreamUnaryCall UnaryStream UnaryStreamCall UnaryUnary UnaryUnaryCall"
    ),
    "rpc": (
        "Aborted AlreadyExists AsyncInterception Cancelled Codec CODECS Compression COMPRESSIONS "
        "CorruptMessageError DataLoss DeadlineExceeded DeflateCompression FailedPrecondition "
        "GzipCompression InterceptedCall Interception Interceptor Internal InvalidArgument JSON "
        "Keepalive MessageTooLargeError Metadata Method NotFound Outcome OutOfRange Pattern "
        "Peer PermissionDenied PROTOBUF RAW RawCodec ResourceExhausted Retry RpcError Service "
        "ServiceDefinition Status StatusCode Unauthenticated Unavailable Unimplemented Unknown "
        "ZstdCompression detach placeholder"
    ),
    "server": ("RequestStream Server ServerContext ServerObserver"),
    "transport.certificates": "ClientTLS ServerTLS",
    "transport.clock": "Clock ManualClock",
    "transport.faults": "Faults",
    "transport.memory": "MemoryNetwork",
    "transport.network": "Network",
}
# Rooms that programs name themselves; `telemetry` is not in __all__, because it needs an extra.
_PACKAGES = frozenset({"blocking", "services", "stats", "telemetry", "workers"})
# What stands on these imports modules inside them, and takes their locks before the room's own: two
# threads that import in different orders would wait for each other (_DeadlockError).
_BEFORE = {
    "blocking": ("client", "server"),
    "services": ("client", "server"),
    "telemetry": ("client", "server"),
    "workers": ("server",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    for room in _BEFORE.get(name, ()):
        import_module(f"{__name__}.{room}")
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
