"""Credentials of calls: metadata that a function gives for each call, such as a bearer token."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from ..rpc.errors import Internal, RpcError, Unauthenticated, Unavailable
from ..rpc.functions import is_async_function
from ..rpc.interceptor import AsyncInterception, InterceptedCall, Interception, Interceptor
from ..rpc.metadata import Metadata, MetadataLike
from ..rpc.options import check_seconds
from ..rpc.status import StatusCode
from ..transport.blocking import SharedLoop
from ..transport.clock import SYSTEM_CLOCK, Clock
from .interception import ClientInterceptors

log = logging.getLogger("gyrfalcon.client")

# gRFC A54: what only the server that is called may say about a call.
_SERVERS_OWN: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.ABORTED,
        StatusCode.OUT_OF_RANGE,
        StatusCode.DATA_LOSS,
    }
)
# A refresh that failed is tried again after this part of the time that is left, and not sooner.
_RETRY_PART: Final = 0.1
_RETRY_S: Final = 1.0
PLAINTEXT_REFUSAL: Final = (
    "credentials are not sent in plaintext: give the channel tls=, or "
    "allow_plaintext_credentials=True"
)
# Credentials of single calls that a channel remembers, so as not to look at them each time.
_REMEMBERED: Final = 32


@dataclass(frozen=True, slots=True)
class CallInfo:
    """The call that credentials are asked for."""

    method: str
    """What is called, "/package.Service/Method"."""
    authority: str
    """The `:authority` of the call."""

    @property
    def service_url(self) -> str:
        """What a token is for, as gRPC has it: "https://host/package.Service"."""
        service = self.method.rpartition("/")[0]
        return f"https://{self.authority.removesuffix(':443')}{service}"


Given: TypeAlias = str | MetadataLike
"""A bearer token, or metadata."""
CallCredentials: TypeAlias = Callable[[CallInfo], Given | Awaitable[Given]]
"""What gives a call its credentials: with `def` or `async def`."""
Fetched: TypeAlias = str | tuple[str, float]
"""A token, with the seconds that it is good for if it expires."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    expires: float
    refresh: float


class BearerToken:
    """Credentials that keep a token, and fetch another before it expires.

    `fetch()`, with `def` or `async def`, returns a token, or a token and the seconds that it is
    good for from now. It is called when there is no token, and again `refresh_before` seconds
    before the token expires (at the latest in the middle of its life), while calls go on with the
    old one; never twice at a time for one event loop, or for all threads of blocking channels.
    When it raises, the calls that have no token fail with that, see CallCredentials; a token that
    is still good stays in use.

    May be given to several channels, of both faces; any thread. A blocking channel needs a `def`;
    on an asyncio channel a `def` runs in the loop and must not block. `clock`: what tells the time
    (None: the system's).
    """

    def __init__(
        self,
        fetch: Callable[[], Fetched | Awaitable[Fetched]],
        refresh_before: float = 60.0,
        *,
        clock: Clock | None = None,
    ) -> None:
        if not callable(fetch):
            raise TypeError(f"BearerToken({fetch!r}): pass a function that fetches a token")
        self._fetch = fetch
        self._refresh_before = check_seconds("refresh_before", refresh_before)
        self._clock = SYSTEM_CLOCK if clock is None else clock
        self.is_async = is_async_function(fetch)
        """Whether `fetch` is written with `async def`."""
        self._held: _Held | None = None
        self._lock = threading.Lock()
        self._pending: concurrent.futures.Future[None] | None = None
        self._tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[Exception | None]] = {}

    def invalidate(self) -> None:
        """Forget the token: the next call fetches one. Any thread."""
        self._held = None

    def peek(self) -> str | None:
        """The token, while it is good; None when it has to be fetched. Any thread."""
        held = self._held
        return None if held is None or self._clock.time() >= held.expires else held.token

    def __call__(self, info: CallInfo) -> Given | Awaitable[Given]:
        """The token for a call."""
        return self.wait_in_loop(_own_nothing) if self.is_async else self.wait()

    def wait(self) -> str:
        """The token, fetched in this thread if need be."""
        token = self.peek()
        if token is not None and not self._is_due():
            return token
        with self._lock:
            pending = self._pending
            leads = pending is None
            if pending is None:
                pending = self._pending = concurrent.futures.Future()
        if not leads:
            if token is not None:
                return token
            pending.result()
        else:
            try:
                self._take(cast("Fetched", self._fetch()))
            except BaseException as error:
                self._pending = None
                pending.set_exception(error)
                if token is None or not isinstance(error, Exception):
                    raise
                self._postpone(error)
                return token
            self._pending = None
            pending.set_result(None)
        return self._newest()

    async def wait_in_loop(self, own: Callable[[asyncio.Task[Any]], object]) -> str:
        """The token, fetched in a task if need be. `own` is told of the task, and may cancel it."""
        loop = asyncio.get_running_loop()
        while True:
            token = self.peek()
            task = self._tasks.get(loop)
            if token is not None:
                if task is None and self._is_due():
                    self._start(loop, own)
                return token
            if task is None:
                task = self._start(loop, own)
            try:
                error = await asyncio.shield(task)
            except asyncio.CancelledError:
                waiter = asyncio.current_task()
                if task.cancelled() and not (waiter is not None and waiter.cancelling()):
                    continue  # the channel that had begun to fetch was closed
                raise
            if error is not None:
                raise error
            return self._newest()

    def refresh_in_loop(self, own: Callable[[asyncio.Task[Any]], object]) -> None:
        """Begin to fetch another token if that is due."""
        loop = asyncio.get_running_loop()
        if self._is_due() and loop not in self._tasks:
            self._start(loop, own)

    def _start(
        self, loop: asyncio.AbstractEventLoop, own: Callable[[asyncio.Task[Any]], object]
    ) -> asyncio.Task[Exception | None]:
        # Of no call: neither its deadline nor its cancellation is the token's.
        task = loop.create_task(self._renew(), context=contextvars.Context())
        self._tasks[loop] = task
        task.add_done_callback(lambda _: self._tasks.pop(loop, None))
        own(task)
        return task

    async def _renew(self) -> Exception | None:
        try:
            self._take(await cast("Awaitable[Fetched]", self._fetch()))
        except Exception as error:
            if self.peek() is not None:
                self._postpone(error)
            return error
        return None

    def _take(self, fetched: Fetched) -> None:
        token, lifetime = (fetched, float("inf")) if isinstance(fetched, str) else fetched
        if not isinstance(token, str) or not token:
            raise TypeError(
                f"fetch() of a BearerToken returned a {type(token).__name__}: a token is expected, "
                "or a token and the seconds that it is good for"
            )
        now = self._clock.time()
        refresh = max(lifetime - self._refresh_before, lifetime / 2)
        self._held = _Held(token, now + lifetime, now + refresh)

    def _newest(self) -> str:
        held = self._held
        if held is None:
            raise Unavailable("the token was invalidated while it was fetched")
        return held.token

    def _is_due(self) -> bool:
        held = self._held
        return held is None or self._clock.time() >= held.refresh

    def _postpone(self, error: BaseException) -> None:
        """The refresh failed, and the token is still good."""
        log.warning("a bearer token was not refreshed: %s: %s", type(error).__name__, error)
        held = self._held
        if held is not None:
            now = self._clock.time()
            wait = max((held.expires - now) * _RETRY_PART, _RETRY_S)
            self._held = _Held(held.token, held.expires, now + wait)

    def __repr__(self) -> str:
        return f"<BearerToken of {getattr(self._fetch, '__qualname__', self._fetch)}>"


class Authorizer:
    """What gives the calls of one channel their credentials: as the innermost interceptor, so that
    each attempt that an interceptor has made asks anew."""

    def __init__(
        self,
        interceptors: tuple[Interceptor, ...],
        authority: str,
        refusal: str | None,
        own: Callable[[asyncio.Task[Any]], object],
    ) -> None:
        self._interceptors = interceptors
        self._authority = authority
        self._refusal = refusal
        self._own = own
        self._known: dict[int, tuple[CallCredentials, _Ways]] = {}

    def choose(
        self, credentials: CallCredentials, loop: asyncio.AbstractEventLoop
    ) -> ClientInterceptors:
        """The interceptors of a call with these credentials. TypeError for what is none."""
        known = self._known.get(id(credentials))
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[id(credentials)] = credentials, self._prepare(credentials)
        ways = known[1]
        if ways.waiting is None or self._refusal is not None:
            return ways.direct
        if isinstance(loop, SharedLoop):
            raise refusal_of_async(credentials)
        if isinstance(credentials, BearerToken) and credentials.peek() is not None:
            credentials.refresh_in_loop(self._own)
            return ways.direct
        return ways.waiting

    def _prepare(self, credentials: CallCredentials) -> _Ways:
        check_credentials(credentials)
        ask: _Ask = _Ask(credentials, self._authority, self._refusal, self._own)
        direct = ClientInterceptors((*self._interceptors, _Direct(ask)))
        if not is_async(credentials):
            return _Ways(direct, None)
        return _Ways(direct, ClientInterceptors((*self._interceptors, _Waiting(ask))))


@dataclass(frozen=True, slots=True)
class _Ways:
    direct: ClientInterceptors
    waiting: ClientInterceptors | None


@dataclass(frozen=True, slots=True)
class _Ask:
    """How one channel asks for credentials."""

    credentials: CallCredentials
    authority: str
    refusal: str | None
    own: Callable[[asyncio.Task[Any]], object]

    def begin(self, call: InterceptedCall) -> Given | Awaitable[Given]:
        if self.refusal is not None:
            raise Unauthenticated(self.refusal)
        credentials = self.credentials
        if isinstance(credentials, BearerToken) and credentials.is_async:
            # With `_Direct` it is in hand.
            return credentials.peek() or credentials.wait_in_loop(self.own)
        return credentials(CallInfo(call.method, self.authority))

    def put(self, call: InterceptedCall, given: Given) -> None:
        if isinstance(given, str):
            given = {"authorization": f"Bearer {given}"}
        try:
            found = Metadata(given)
        except (TypeError, ValueError):
            # Without their text, which could tell the secret.
            raise Internal(
                "the credentials of the call gave something that cannot be sent as metadata"
            ) from None
        metadata = call.metadata
        for key in found:
            metadata[key] = found.get_all(key)


class _Direct(Interceptor):
    def __init__(self, ask: _Ask) -> None:
        self._ask = ask

    def intercept(self, call: InterceptedCall) -> Interception:
        try:
            given = self._ask.begin(call)
            if inspect.isawaitable(given):
                if isinstance(given, Coroutine):
                    given.close()
                raise TypeError("they are to be awaited: write them with `async def`")
        except Exception as error:
            raise translate(error) from error
        self._ask.put(call, given)
        yield


class _Waiting(Interceptor):
    def __init__(self, ask: _Ask) -> None:
        self._ask = ask

    async def intercept(self, call: InterceptedCall) -> AsyncInterception:
        try:
            given = self._ask.begin(call)
            if inspect.isawaitable(given):
                given = await given
        except Exception as error:
            raise translate(error) from error
        self._ask.put(call, given)
        yield


def translate(error: Exception) -> RpcError:
    """What a call fails with when its credentials raised this."""
    if not isinstance(error, RpcError):
        return Unavailable(
            f"the credentials of the call could not be had: {type(error).__name__}: {error}"
        )
    if error.code in _SERVERS_OWN:
        return Internal(
            f"the credentials of the call failed with {error.code.name}, which only the server "
            f"that is called may say: {error.message}"
        )
    return type(error)(f"the credentials of the call could not be had: {error.message}")


def check_credentials(credentials: CallCredentials) -> CallCredentials:
    """Raise TypeError for what are no credentials."""
    if not callable(credentials) or isinstance(credentials, type):
        raise TypeError(
            f"credentials={credentials!r}: pass a function of a gyrfalcon.CallInfo, or a "
            "gyrfalcon.BearerToken"
        )
    return credentials


def is_async(credentials: CallCredentials) -> bool:
    """Whether they are to be awaited."""
    if isinstance(credentials, BearerToken):
        return credentials.is_async
    return is_async_function(credentials)


def refusal_of_async(credentials: CallCredentials) -> TypeError:
    """The error for credentials that await, on a blocking channel."""
    return TypeError(
        f"credentials={credentials!r} are `async def`, which a blocking channel cannot run: write "
        "them with `def`"
    )


def _own_nothing(task: asyncio.Task[Any]) -> None:
    """Nobody ends the task before its time."""
