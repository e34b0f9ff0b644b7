import asyncio
import logging

from .._core.connection import Connection
from .clock import Clock
from .driver import Driver

log: logging.Logger

class Rules:
    """What connections of one server or channel keep to. Times are seconds; 0 switches off."""

    def __init__(
        self,
        *,
        keepalive_interval: float = 0,
        keepalive_timeout: float = 20,
        keepalive_without_calls: bool = False,
        header_timeout: float = 10,
        stall_timeout: float = 60,
        min_ping_interval: float = 0,
        permit_pings_without_calls: bool = True,
        max_age: float = 0,
        max_age_grace: float = -1,
        max_idle: float = 0,
    ) -> None: ...
    @property
    def keepalive_interval(self) -> float: ...
    @property
    def keepalive_timeout(self) -> float: ...
    @property
    def keepalive_without_calls(self) -> bool: ...
    @property
    def header_timeout(self) -> float: ...
    @property
    def stall_timeout(self) -> float: ...
    @property
    def min_ping_interval(self) -> float: ...
    @property
    def permit_pings_without_calls(self) -> bool: ...
    @property
    def max_age(self) -> float: ...
    @property
    def max_age_grace(self) -> float: ...
    @property
    def max_idle(self) -> float: ...

class KeptDriver(Driver):
    """A driver that looks after its connection."""

    def __init__(
        self,
        connection: Connection,
        loop: asyncio.AbstractEventLoop,
        clock: Clock | None = None,
        rules: Rules | None = None,
    ) -> None: ...
    @property
    def rules(self) -> Rules: ...
    def _give_up_unless_answered(self) -> None: ...
