"""The channel: a target, the connections to it, and the calls that wait for one."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from .._version import __version__
from ..policy.balancer import (
    QUEUE_PICKER,
    Balancer,
    BalancerFactory,
    FixedPicker,
    Picker,
    Timer,
)
from ..policy.connectivity import ConnectivityState
from ..policy.pick_first import PickFirst
from ..policy.resolver import Resolution, Resolver, ResolverFactory, StaticResolver
from ..policy.target import Address, host_of, parse_target
from ..rpc.codec import CODECS, PROTOBUF, Codec
from ..rpc.compression import COMPRESSIONS, Compression
from ..rpc.interceptor import Interceptor, check_interceptors
from ..rpc.keepalive import LEAST_CLIENT_INTERVAL, Keepalive, check_keepalive
from ..rpc.limits import add_counts
from ..rpc.metadata import check_keys
from ..rpc.method import Method
from ..rpc.options import (
    check_connection_options,
    check_header_text,
    check_int,
    check_period,
    check_seconds,
)
from ..rpc.stats import CHANNELS, ChannelStats, latest
from ..rpc.status import Status, StatusCode
from ..transport.certificates import ClientTLS, check_server_name, choose_client_settings
from ..transport.dns import DnsResolver
from ..transport.network import SYSTEM_NETWORK, Network
from ..transport.upkeep import Rules
from ..wire.grpc import RequestTemplate
from .call import Call, CallPlace
from .credentials import PLAINTEXT_REFUSAL, Authorizer, CallCredentials, check_credentials
from .interception import ClientInterceptors
from .subchannel import Subchannel

log = logging.getLogger("gyrfalcon.client")

# What interceptors that await get to end after the channel was closed.
_INTERCEPTOR_SECONDS = 1.0
_USER_AGENT = f"gyrfalcon/{__version__} (Python {sys.version_info[0]}.{sys.version_info[1]})"


def _look_whether_idle(reference: weakref.ref[Channel]) -> None:
    channel = reference()
    if channel is not None:
        channel._rest()


class Channel(CallPlace):
    """Calls to one target, on connections that are made when they are needed.

    `target`: "host:port", "[::1]:port", "unix:/path", "dns:///host:port",
    "ipv4:1.2.3.4:50051,1.2.3.5:50051", ...

    Options, with their units:
    - `default_timeout`: seconds for calls that give none (None: no deadline);
    - `max_receive_bytes`: a reply message, uncompressed, at most (4 MiB);
    - `max_send_bytes`: a request message at most (None: no limit);
    - `max_metadata_bytes`: the header list of a response at most (16 KiB);
    - `compression`: of the requests ("gzip", "deflate", "zstd" or a Compression);
    - `codec`: of the methods that have none of their own ("json" or a Codec; None: protobuf);
    - `user_agent`: stands before Gyrfalcon's own;
    - `authority`: the `:authority` of the calls, instead of the target's;
    - `tls`: whom to trust and what to prove oneself with, a ClientTLS or an ssl.SSLContext, which
      gets ALPN set to "h2"; True: the system's authorities (None: plaintext);
    - `credentials`: what gives each call a token or other metadata, a function of a CallInfo or a
      BearerToken; a call may have its own; `allow_plaintext_credentials`: send them without TLS too
      (False: such a channel is refused, and such a call ends with UNAUTHENTICATED);
    - `connect_timeout`: seconds for one attempt to connect (20);
    - `keepalive`: seconds without a byte from the server, at least 10, before it is asked whether
      it is still there, or a Keepalive (None: it is not asked);
    - `idle_timeout`: seconds without a call after which the connections are closed, until there is
      a call again (1,800; None: never);
    - `header_timeout`: seconds for the rest of a header block that has begun (10); `stall_timeout`:
      for the server to take any of what waits for it before its call is cancelled (60; None: no
      limit);
    - `max_connections_per_address`: one more is made when those that are there have as many calls
      as the server takes at once (1: calls wait);
    - `interceptors`: what every call passes through, the outermost first (Interceptor);
    - `propagate`: keys of metadata that calls made while serving another take along from it;
    - `balancer`: what chooses among several addresses, `gyrfalcon.policy.PickFirst` or `RoundRobin`
      or a BalancerFactory of the program's own; `resolvers`: for target schemes of its own, by
      name;
    - `stream_window`, `connection_window`: bytes that the server may send ahead of the callers
      (1 MiB, 16 MiB); `max_unread_bytes`: whole messages held for the callers of one connection
      before that connection's window stays shut (64 MiB);
    - `network`: what connects, looks names up and tells the time (None: the system's).

    A channel belongs to the event loop that first uses it and to that loop's thread; it starts no
    task before the first call and no thread ever. Leaving the `async with` block closes it.
    Raises ValueError for a target or an option that makes no sense.
    """

    def __init__(
        self,
        target: str,
        *,
        default_timeout: float | None = None,
        max_receive_bytes: int = 4 * 2**20,
        max_send_bytes: int | None = None,
        max_metadata_bytes: int = 16 * 2**10,
        compression: Compression | str | None = None,
        codec: Codec | str | None = None,
        user_agent: str | None = None,
        authority: str | None = None,
        tls: ClientTLS | ssl.SSLContext | bool | None = None,
        credentials: CallCredentials | None = None,
        allow_plaintext_credentials: bool = False,
        connect_timeout: float = 20.0,
        keepalive: Keepalive | float | None = None,
        idle_timeout: float | None = 1800.0,
        header_timeout: float | None = 10.0,
        stall_timeout: float | None = 60.0,
        max_connections_per_address: int = 1,
        interceptors: Iterable[Interceptor] = (),
        propagate: Iterable[str] = (),
        balancer: BalancerFactory = PickFirst,
        resolvers: Mapping[str, ResolverFactory] | None = None,
        stream_window: int = 2**20,
        connection_window: int = 16 * 2**20,
        max_unread_bytes: int = 64 * 2**20,
        network: Network | None = None,
    ) -> None:
        self._network = SYSTEM_NETWORK if network is None else network
        chosen = COMPRESSIONS.choose(compression)
        found = check_interceptors(interceptors)
        self._connection_options: dict[str, Any] = check_connection_options(
            max_receive_bytes=max_receive_bytes,
            max_metadata_bytes=max_metadata_bytes,
            stream_window=stream_window,
            connection_window=connection_window,
            max_unread_bytes=max_unread_bytes,
        )
        super().__init__(
            target_name=target,
            default_timeout=-1.0
            if default_timeout is None
            else check_seconds("default_timeout", default_timeout),
            max_receive_bytes=max_receive_bytes,
            max_send_bytes=-1
            if max_send_bytes is None
            else check_int("max_send_bytes", max_send_bytes, 0),
            compression=None if chosen.name == "identity" else chosen,
            clock=self._network.clock,
            interceptors=ClientInterceptors(found) if found else None,
            propagate=check_keys("propagate", propagate) or None,
            credentials=None if credentials is None else check_credentials(credentials),
        )
        self._codec = CODECS.choose(codec)
        self._resolvers = dict(resolvers or {})
        self._target = parse_target(target, self._resolvers)
        self.canonical_target = self._target.canonical
        settings = choose_client_settings(tls)
        named = None if settings is None else settings.server_name
        called = authority or named or self._target.authority
        self._authority = check_header_text("authority", called)
        if b" " in self._authority:
            raise ValueError(f"authority={authority!r} has a blank in it: write a host and a port")
        self._tls = None
        if settings is not None:
            self._tls = settings, named or check_server_name(host_of(called))
        self._hides_credentials = self._tls is None and not allow_plaintext_credentials
        if self._hides_credentials and credentials is not None:
            raise ValueError(PLAINTEXT_REFUSAL)
        self._authorizer: Authorizer | None = None
        agent = f"{user_agent} {_USER_AGENT}" if user_agent else _USER_AGENT
        self._user_agent = check_header_text("user_agent", agent)
        self._connect_timeout = check_seconds("connect_timeout", connect_timeout, zero=False)
        self._idle_timeout = check_period("idle_timeout", idle_timeout)
        self._idle_timer: Timer | None = None
        self._quiet_from = 0.0
        self._keepalive = check_keepalive(keepalive, LEAST_CLIENT_INTERVAL)
        self._header_timeout = check_period("header_timeout", header_timeout)
        self._stall_timeout = check_period("stall_timeout", stall_timeout)
        self._rules = self._make_rules()
        self._most_connections = check_int(
            "max_connections_per_address", max_connections_per_address, 1, 2**31 - 1
        )
        self._make_balancer = balancer
        self._templates: dict[Method[Any, Any], RequestTemplate] = {}
        self._state = ConnectivityState.IDLE
        self._state_waiters: list[asyncio.Future[None]] = []
        self._picker: Picker = QUEUE_PICKER
        self._balancer: Balancer | None = None
        self._resolver: Resolver | None = None
        self._events: list[Callable[[], object]] = []
        self._handling = False
        self._subchannels: set[Subchannel] = set()
        # Ordered, so that calls that wait go in the order they were made.
        self._waiting: dict[Call, None] = {}
        self._held: set[Call] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reason = "the channel has not connected yet"
        self._created = time.time()
        # Of calls that had to wait for a connection, and of subchannels that are gone; the others
        # know it themselves.
        self._last_started: float | None = None
        self._id = CHANNELS.add(self)

    # ------------------------------------------------------------------ for callers

    @property
    def target(self) -> str:
        """The target as it was given."""
        return self._target.text

    @property
    def state(self) -> ConnectivityState:
        """IDLE, CONNECTING, READY, TRANSIENT_FAILURE or SHUTDOWN."""
        return self._state

    async def wait_ready(self) -> None:
        """Connect if need be, and wait until the channel is READY.

        RuntimeError when the channel is closed before that.
        """
        self.bind_loop()
        self._wake_up()
        while self._state is not ConnectivityState.READY:
            if self.closed:
                raise RuntimeError(f"{self!r} is closed; it does not get ready any more")
            waiter = self._loop.create_future()
            self._state_waiters.append(waiter)
            await waiter

    async def close(self, grace: float | None = None) -> None:
        """Close the channel. Calls that run get `grace` seconds (None: none), then Cancelled."""
        if self.closed:
            return
        self.set_closed()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for call in list(self._waiting):
            call._fail(StatusCode.CANCELLED, "the channel was closed")
        self._waiting.clear()
        if self._resolver is not None:
            self._resolver.close()
        subchannels = list(self._subchannels)
        if self._balancer is not None:
            self._balancer.close()
        self._set_state(ConnectivityState.SHUTDOWN)
        await asyncio.gather(*(subchannel.close(grace or 0.0) for subchannel in subchannels))
        if self._tasks:
            # Of calls that have ended: their interceptors may still say so.
            _, late = await asyncio.wait(self._tasks, timeout=_INTERCEPTOR_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_INTERCEPTOR_SECONDS)
        CHANNELS.remove(self._id)

    def stats(self) -> ChannelStats:
        """The figures of this channel: its state, its calls, its subchannels. Any thread."""
        # list() of a set is one step; the loop's thread may go on meanwhile.
        subchannels = [subchannel.stats() for subchannel in list(self._subchannels)]
        limits = dict(self.limits_met)
        for figures in subchannels:
            add_counts(limits, figures.limits)
        started = [self._last_started, *(figures.calls.last_started for figures in subchannels)]
        return ChannelStats(
            id=self._id,
            created=self._created,
            target=self._target.text,
            state=self._state.name,
            calls=dataclasses.replace(self.call_stats(), last_started=latest(started)),
            subchannels=tuple(sorted(figures.id for figures in subchannels)),
            limits=limits,
        )

    async def __aenter__(self) -> Channel:
        self.bind_loop()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Channel to {self._target.text!r} {self._state.name}>"

    # ------------------------------------------------------------------ for calls

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self.loop)

    def make_template(self, method: Method[Any, Any]) -> RequestTemplate:
        """The fixed part of the requests of a method."""
        template = self._templates.get(method)
        if template is None:
            template = self._templates[method] = RequestTemplate(
                method.path.encode("ascii"),
                self._authority,
                b"http" if self._tls is None else b"https",
                self._user_agent,
                self.codec_for(method).name,
            )
        return template

    def codec_for(self, method: Method[Any, Any]) -> Codec:
        """The method's own, unless that is protobuf and the channel has another."""
        if self._codec is not None and method.codec is PROTOBUF:
            return self._codec
        return method.codec

    def authorize(self, credentials: CallCredentials) -> ClientInterceptors:
        """The interceptors of a call with these credentials."""
        if self._authorizer is None:
            self._authorizer = Authorizer(
                () if self.interceptors is None else self.interceptors.interceptors,
                self._authority.decode(),
                PLAINTEXT_REFUSAL if self._hides_credentials else None,
                self.own,
            )
        return self._authorizer.choose(credentials, self._loop)

    def place(self, call: Call) -> None:
        """Find a connection for a call, or let it wait for one."""
        if self._pick_for(call):
            return
        self._last_started = time.time()
        self._waiting[call] = None
        self._wake_up()

    def waiting_reason(self) -> str:
        """Why calls wait, for the error of one that waited too long."""
        return f"{self._state.name}, {self._reason}"

    def hold(self, call: Call) -> None:
        """Keep a call alive though nobody waits for it: somebody wants to hear of its end."""
        self._held.add(call)

    def release(self, call: Call) -> None:
        """Undo `hold`."""
        self._held.discard(call)

    def own(self, task: asyncio.Task[Any]) -> None:
        """Keep a task that runs interceptors, and end it with the channel."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------------ for the balancer

    def create_subchannel(self, address: Address) -> Subchannel:
        """A connection-to-be to an address."""
        subchannel = Subchannel(
            self._loop,
            address,
            self._connection_options,
            self._connect_timeout,
            self._network,
            self._tls,
            lambda: self._rules,
            self._slow_down,
            self._most_connections,
            self._place_waiting,
            self._subchannel_changed,
            self._forget_subchannel,
        )
        self._subchannels.add(subchannel)
        return subchannel

    def publish(self, state: ConnectivityState, picker: Picker) -> None:
        """Take a new state and picker; calls that wait are picked again."""
        if self.closed:
            return
        self._picker = picker
        direct = None
        if (
            state is ConnectivityState.READY
            and isinstance(picker, FixedPicker)
            and self._most_connections == 1
        ):
            # One answer for every call: no need to ask it each time.
            chosen = picker.pick("", ()).subchannel
            if isinstance(chosen, Subchannel):
                direct = chosen.driver
        self.set_direct(direct)
        self._set_state(state)
        self._place_waiting()
        if state is ConnectivityState.READY and self._idle_timeout and self._idle_timer is None:
            self._quiet_from = self.clock.time()
            self._idle_timer = self._call_idle(self._idle_timeout)
        if state is ConnectivityState.IDLE and self._waiting:
            self._wake_up()

    def resolve_now(self) -> None:
        """Ask the resolver whether its addresses are still right."""
        if self._resolver is not None:
            self._resolver.resolve_now()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back after `delay` seconds, in turn with the balancer's other calls."""
        return self.clock.call_later(self._loop, delay, self._handle, callback)

    # ------------------------------------------------------------------ for the resolver

    def resolved(self, resolution: Resolution) -> bool:
        """Take new addresses."""
        if self._balancer is None:
            return False
        balancer = self._balancer
        useful = bool(resolution.addresses)
        self._handle(lambda: balancer.resolved(resolution))
        return useful

    def failed(self, status: Status) -> None:
        """Take note that the target could not be resolved."""
        self._reason = status.message
        balancer = self._balancer
        if balancer is not None:
            self._handle(lambda: balancer.resolver_failed(status))

    # ------------------------------------------------------------------ inside

    def _wake_up(self) -> None:
        """Begin to connect, if nothing does."""
        if self.closed:
            return
        if self._balancer is None:
            self._balancer = self._make_balancer(self)
            factory = self._resolvers.get(self._target.scheme)
            if factory is not None:
                self._resolver = factory(self._target, self)
            elif self._target.scheme == "dns":
                self._resolver = DnsResolver(self._target, self, self._network)
            else:
                self._resolver = StaticResolver(self._target, self)
            self._resolver.start()
        if self._state is ConnectivityState.IDLE:
            self._handle(self._balancer.exit_idle)

    def _handle(self, event: Callable[[], object]) -> None:
        """One call of the balancer at a time; what it causes comes after it."""
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._events.pop(0)()
        finally:
            self._handling = False

    def _subchannel_changed(
        self, subchannel: Subchannel, state: ConnectivityState, status: Status | None
    ) -> None:
        balancer = self._balancer
        if balancer is None or self.closed:
            return
        if status is not None:
            self._reason = status.message
            log.info("%r: %s", self, status.message)
        self._handle(lambda: balancer.subchannel_changed(subchannel, state, status))

    def _pick_for(self, call: Call) -> bool:
        """Whether the picker knows what becomes of the call."""
        picked = self._picker.pick(call.method, call._metadata_to_send)
        if picked.subchannel is not None:
            chosen = picked.subchannel
            driver = chosen.find_driver() if isinstance(chosen, Subchannel) else None
            if driver is None or not driver.takes_calls:
                return False
            call._open_on(driver, picked.done)
            return True
        if picked.failure is not None and (picked.drop or not call._waits_for_ready):
            call._fail(picked.failure.code, picked.failure.message)
            return True
        return False

    def _place_waiting(self) -> None:
        for call in list(self._waiting):
            if call.done() or self._pick_for(call):
                self._waiting.pop(call, None)

    # ------------------------------------------------------------------ keepalive and idleness

    def _make_rules(self) -> Rules:
        asks = self._keepalive
        if asks is None:
            return Rules(header_timeout=self._header_timeout, stall_timeout=self._stall_timeout)
        return Rules(
            keepalive_interval=asks.interval,
            keepalive_timeout=asks.timeout,
            keepalive_without_calls=asks.without_calls,
            header_timeout=self._header_timeout,
            stall_timeout=self._stall_timeout,
        )

    def _slow_down(self, interval: float) -> None:
        """A server that was asked every `interval` seconds says that this is too often."""
        asks = self._keepalive
        if asks is None or not interval:
            log.warning("%r: the server says too_many_pings, and keepalive is off", self)
            return
        self._keepalive = dataclasses.replace(asks, interval=max(asks.interval, 2 * interval))
        self._rules = self._make_rules()
        log.warning(
            "%r: the server says too_many_pings: from now on it is asked every %g s (keepalive)",
            self,
            self._keepalive.interval,
        )

    def _call_idle(self, delay: float) -> Timer:
        # Weak: for half an hour a channel that was forgotten would live on.
        reference: weakref.ref[Channel] = weakref.ref(self)
        return self.clock.call_later(self._loop, delay, _look_whether_idle, reference)

    def _rest(self) -> None:
        """Close the connections if there was no call for `idle_timeout`."""
        self._idle_timer = None
        if self.closed or self._balancer is None:
            return
        now = self.clock.time()
        quiet = [subchannel.quiet_since() for subchannel in self._subchannels]
        if self._waiting or None in quiet:
            self._quiet_from = now
        since = max(self._quiet_from, *(moment or 0.0 for moment in quiet), 0.0)
        left = since + self._idle_timeout - now
        if left > 0:
            if not self._subchannels:
                return  # idle already
            self._idle_timer = self._call_idle(left)
            return
        self.count_limit("idle_timeout")
        log.info("%r: idle for %g seconds: its connections are closed", self, self._idle_timeout)
        balancer, self._balancer = self._balancer, None
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            resolver.close()
        balancer.close()
        self.set_direct(None)
        self._picker = QUEUE_PICKER
        self._set_state(ConnectivityState.IDLE)

    def _forget_subchannel(self, subchannel: Subchannel) -> None:
        """It was shut down, and its last connection is gone (which it may tell twice)."""
        if subchannel not in self._subchannels:
            return
        self._subchannels.discard(subchannel)
        figures = subchannel.stats()
        self._last_started = latest((self._last_started, figures.calls.last_started))
        add_counts(self.limits_met, figures.limits)

    def _set_state(self, state: ConnectivityState) -> None:
        if state is self._state:
            return
        log.debug("%r: now %s", self, state.name)
        self._state = state
        waiters, self._state_waiters = self._state_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
