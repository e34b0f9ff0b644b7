"""grpc.health.v1: whether a server and its services can do their work."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import threading
from collections.abc import AsyncIterator

import gyrfalcon as gyr

from .proto.grpc.health.v1 import health_pb2
from .proto.grpc.health.v1.health_gyr import HealthBlockingStub, HealthService, HealthStub

__all__ = ["Health", "HealthBlockingStub", "HealthStub", "ServingStatus", "health_pb2"]

# A service is asked for by a name that the client makes up; a watcher keeps it.
MAX_NAME_BYTES = 256


class ServingStatus(enum.IntEnum):
    """What is answered for a service."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2


class Health(HealthService, gyr.ServerObserver):
    """The health service of one server.

    It knows the server as a whole (the name ""), each service that is served, and whatever `set()`
    was called for. All are SERVING until `set()` says otherwise. When the server begins to drain,
    all of them answer NOT_SERVING, watchers hear of it, and their calls end, so that nobody waits
    for them.

    Two more names keep apart what an orchestrator asks: `readiness` is another name for "" (may
    calls be sent here), `liveness` stays SERVING while the server drains (would a restart help).
    None leaves the name out.

    `max_watchers`: calls of Watch at once; over it, RESOURCE_EXHAUSTED. Its methods may be called
    from any thread. Give each server a Health of its own.
    """

    def __init__(
        self,
        *,
        liveness: str | None = "liveness",
        readiness: str | None = "readiness",
        max_watchers: int = 10_000,
    ) -> None:
        if max_watchers < 0:
            raise ValueError(f"{max_watchers=!r} is out of range: it must be at least 0")
        self._liveness = liveness
        self._readiness = readiness
        self._max_watchers = max_watchers
        self._lock = threading.Lock()
        self._statuses = {"": ServingStatus.SERVING}
        if liveness is not None:
            self._statuses[liveness] = ServingStatus.SERVING
        self._watchers: dict[str, set[_Watcher]] = {}
        self._watching = 0
        self._draining = False

    # ------------------------------------------------------------------ for programs

    def set(self, service: str, status: ServingStatus | int | str | bool) -> None:
        """Say how a service is: "" is the server as a whole, any other name may be new.

        `status`: a ServingStatus, its name or number, or True for SERVING and False for
        NOT_SERVING. Watchers hear of a change. While the server drains, what is set here is kept
        but not shown. ValueError for what is no status, TypeError for what is no name.
        """
        if not isinstance(service, str):
            raise TypeError(f"{service=!r} is no name of a service")
        chosen = _as_status(status)
        with self._lock:
            name = self._resolve(service)
            self._statuses[name] = chosen
            self._wake(name)

    def get(self, service: str = "") -> ServingStatus | None:
        """What is answered for a service at present; None when it is not known."""
        with self._lock:
            return self._shown(self._resolve(service))

    def clear(self, service: str) -> None:
        """Forget a service: Check answers NOT_FOUND for it, watchers hear SERVICE_UNKNOWN.

        ValueError for "": there is always a server.
        """
        with self._lock:
            name = self._resolve(service)
            if not name:
                raise ValueError(f"{service=!r} is the server as a whole; it cannot be forgotten")
            self._statuses.pop(name, None)
            self._wake(name)

    # ------------------------------------------------------------------ for the server

    def server_starting(self, server: gyr.Server) -> None:
        """Every service of the server is known from now on."""
        with self._lock:
            self._draining = False
            for definition in server.services:
                self._statuses.setdefault(definition.name, ServingStatus.SERVING)

    def server_draining(self, server: gyr.Server) -> None:
        """Everything but the liveness is NOT_SERVING, and watchers go."""
        with self._lock:
            self._draining = True
            for name in self._watchers:
                self._wake(name)

    # ------------------------------------------------------------------ the service

    async def check(
        self, request: health_pb2.HealthCheckRequest, ctx: gyr.ServerContext, /
    ) -> health_pb2.HealthCheckResponse:
        """The status of one service; NotFound for one that is not known."""
        status = self.get(_checked_name(request))
        if status is None:
            raise gyr.NotFound(f"no service {request.service!r} here")
        return _answer(status)

    async def list(
        self, request: health_pb2.HealthListRequest, ctx: gyr.ServerContext, /
    ) -> health_pb2.HealthListResponse:
        """The statuses of everything that is known."""
        with self._lock:
            shown = {name: self._shown(name) for name in self._statuses}
        if self._readiness is not None:
            shown[self._readiness] = shown[""]
        response = health_pb2.HealthListResponse()
        for name, status in shown.items():
            response.statuses[name].CopyFrom(_answer(status))
        return response

    async def watch(
        self, request: health_pb2.HealthCheckRequest, ctx: gyr.ServerContext, /
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status of one service, and again whenever it changes; Unavailable when the server
        drains. A watcher that reads slowly is told the last status only."""
        name = self._resolve(_checked_name(request))
        watcher = self._enter(name)
        told: health_pb2.HealthCheckResponse | None = None
        try:
            while True:
                watcher.rest()
                with self._lock:
                    shown, draining = self._shown(name), self._draining
                answer = _answer(shown)
                if answer != told:
                    told = answer
                    yield answer
                if draining:
                    raise gyr.Unavailable("the server shuts down")
                await watcher.changed()
        finally:
            self._leave(name, watcher)

    # ------------------------------------------------------------------ inside

    def _resolve(self, service: str) -> str:
        return "" if service == self._readiness else service

    def _shown(self, name: str) -> ServingStatus | None:
        status = self._statuses.get(name)
        if self._draining and status is not None and (name != self._liveness or not name):
            return ServingStatus.NOT_SERVING
        return status

    def _enter(self, name: str) -> _Watcher:
        watcher = _Watcher()
        with self._lock:
            if self._watching >= self._max_watchers:
                raise gyr.ResourceExhausted(
                    f"{self._watching} calls watch already: max_watchers={self._max_watchers}"
                )
            self._watching += 1
            self._watchers.setdefault(name, set()).add(watcher)
        return watcher

    def _leave(self, name: str, watcher: _Watcher) -> None:
        with self._lock:
            self._watching -= 1
            watchers = self._watchers[name]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[name]

    def _wake(self, name: str) -> None:
        for watcher in self._watchers.get(name, ()):
            watcher.wake()

    def __repr__(self) -> str:
        return f"<Health {self._statuses[''].name}{' draining' if self._draining else ''}>"


class _Watcher:
    """Lets a call of Watch wait for the next change; any number of changes wake it once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._woken = False

    def rest(self) -> None:
        """From here on the next change counts (the call's own loop)."""
        self._woken = False
        self._event.clear()

    async def changed(self) -> None:
        """Wait until there was a change since `rest`."""
        await self._event.wait()

    def wake(self) -> None:
        """Something changed (any thread)."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # its loop is closed, and so is its call
                self._loop.call_soon_threadsafe(self._event.set)


def _answer(status: ServingStatus | None) -> health_pb2.HealthCheckResponse:
    return health_pb2.HealthCheckResponse(
        status="SERVICE_UNKNOWN" if status is None else status.name
    )


def _as_status(status: ServingStatus | int | str | bool) -> ServingStatus:
    if isinstance(status, bool):
        return ServingStatus.SERVING if status else ServingStatus.NOT_SERVING
    try:
        return ServingStatus[status] if isinstance(status, str) else ServingStatus(status)
    except (KeyError, ValueError):
        known = ", ".join(ServingStatus.__members__)
        raise ValueError(f"{status=!r} is no serving status: it is one of {known}") from None


def _checked_name(request: health_pb2.HealthCheckRequest) -> str:
    name = request.service
    if len(name.encode()) > MAX_NAME_BYTES:
        raise gyr.InvalidArgument(
            f"the name of the service has {len(name.encode())} bytes; at most {MAX_NAME_BYTES}"
        )
    return name
