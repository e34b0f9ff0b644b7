"""Decisions without IO: where a target is, which connection takes a call, when to connect again.

Clocks and randomness are parameters.
"""

from .backoff import Attempt, ConnectionBackoff
from .balancer import (
    QUEUE,
    QUEUE_PICKER,
    Balancer,
    BalancerFactory,
    ChannelControl,
    FixedPicker,
    Pick,
    Picker,
    Subchannel,
    Timer,
)
from .connectivity import ConnectivityState, aggregate
from .pick_first import PickFirst
from .resolver import Resolution, Resolver, ResolverFactory, ResolverListener, StaticResolver
from .round_robin import RoundRobin
from .target import (
    DEFAULT_PORT,
    Address,
    HeldAddress,
    ListenAddress,
    Target,
    TcpAddress,
    UnixAddress,
    parse_listen_address,
    parse_target,
)

__all__ = [
    "DEFAULT_PORT",
    "QUEUE",
    "QUEUE_PICKER",
    "Address",
    "Attempt",
    "Balancer",
    "BalancerFactory",
    "ChannelControl",
    "ConnectionBackoff",
    "ConnectivityState",
    "FixedPicker",
    "HeldAddress",
    "ListenAddress",
    "Pick",
    "PickFirst",
    "Picker",
    "Resolution",
    "Resolver",
    "ResolverFactory",
    "ResolverListener",
    "RoundRobin",
    "StaticResolver",
    "Subchannel",
    "Target",
    "TcpAddress",
    "Timer",
    "UnixAddress",
    "aggregate",
    "parse_listen_address",
    "parse_target",
]
