"""Counters of the limits that were met on a connection: native only."""

from ..rpc.limits import LIMITS as LIMITS
