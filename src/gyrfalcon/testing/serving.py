"""`serve`: a server and a channel to it, joined in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import gyrfalcon as gyr

# Of RFC 5737: never the address of a machine.
ADDRESS = "192.0.2.1:50051"
# A manual clock stands still while a server stops: handlers that do not end when they are cancelled
# get the time that they would get otherwise.
_TICK_S = 1.0


def serve(
    *services: gyr.Service,
    clock: gyr.Clock | None = None,
    network: gyr.MemoryNetwork | None = None,
    address: str = ADDRESS,
    server_options: Mapping[str, Any] | None = None,
    channel_options: Mapping[str, Any] | None = None,
) -> Serving:
    """Serve these services in memory: with `async with` for asyncio, with `with` for threads.

    The block gets a channel, `gyrfalcon.Channel` or `gyrfalcon.blocking.Channel`. Leaving it closes
    the channels and stops the server; calls that still run are cancelled.

    - `clock`: what tells server and channels the time, as a `Clock` that the test moves;
    - `network`: where the server listens, when several servers have to be reached by one channel
      (None: a network of its own); it has a clock already;
    - `address`: where in that network, "host:port" or "unix:path";
    - `server_options`, `channel_options`: those of `gyrfalcon.Server` and `gyrfalcon.Channel`.

    Raises TypeError and ValueError for services, options and addresses as these do.
    """
    return Serving(services, clock, network, address, server_options, channel_options)


class Serving:
    """A server in memory and the channels to it, for one `async with` or `with` block.

    `served = serve(...)`, then `async with served as channel:`. Without a block: `await served` or
    `served.open()` for a channel, `await served.aclose()` or `served.close()` at the end.
    """

    def __init__(
        self,
        services: tuple[gyr.Service, ...],
        clock: gyr.Clock | None,
        network: gyr.MemoryNetwork | None,
        address: str,
        server_options: Mapping[str, Any] | None,
        channel_options: Mapping[str, Any] | None,
    ) -> None:
        if network is not None and clock is not None and network.clock is not clock:
            raise ValueError("the network has a clock already: give one of clock= and network=")
        self.network = gyr.MemoryNetwork(clock=clock) if network is None else network
        """The MemoryNetwork that the server listens on."""
        self._address = address
        self.faults = self.network.faults(address)
        """What disturbs the connections to the server."""
        self._services = services
        self._server_options = {"network": self.network, **(server_options or {})}
        self._server: gyr.Server | gyr.blocking.Server | None = None
        self.target = address
        """Where the server is reached, for channels on the same network."""
        self._channel_options = {"network": self.network, **(channel_options or {})}
        self._channels: list[gyr.Channel] = []
        self._blocking: list[gyr.blocking.Channel] = []
        self._entered = self._closed = False

    @property
    def server(self) -> gyr.Server:
        """The server, in an `async with` block. RuntimeError elsewhere."""
        if not isinstance(self._server, gyr.Server):
            raise RuntimeError(f"{self!r} has no gyrfalcon.Server: enter `async with` first")
        return self._server

    @property
    def blocking_server(self) -> gyr.blocking.Server:
        """The server, in a `with` block. RuntimeError elsewhere."""
        if not isinstance(self._server, gyr.blocking.Server):
            raise RuntimeError(f"{self!r} has no gyrfalcon.blocking.Server: enter `with` first")
        return self._server

    @property
    def clock(self) -> gyr.Clock:
        """What tells server and channels the time."""
        return self.network.clock

    def channel(self, **options: Any) -> gyr.Channel:
        """One more asyncio channel to the server; `options` go over those of `serve`.

        Leaving the `async with` block closes it; in a `with` block close it yourself, in its loop.
        """
        channel = gyr.Channel(self.target, **{**self._channel_options, **options})
        self._channels.append(channel)
        return channel

    def blocking_channel(self, **options: Any) -> gyr.blocking.Channel:
        """One more channel for threads; `options` go over those of `serve`. Leaving the block
        closes it. In an `async with` block use it in other threads than the loop's."""
        channel = gyr.blocking.Channel(self.target, **{**self._channel_options, **options})
        self._blocking.append(channel)
        return channel

    # ------------------------------------------------------------------ asyncio

    def __await__(self) -> Generator[Any, None, gyr.Channel]:
        """Start to serve in the running loop; a channel. As entering the `async with` block."""
        return self.__aenter__().__await__()

    async def aclose(self) -> None:
        """Close the channels and stop the server. As leaving the `async with` block; again does
        nothing."""
        if self._server is None or self._closed:
            return
        if not isinstance(self._server, gyr.Server):
            await asyncio.to_thread(self.close)
            return
        self._closed = True
        # The ends of a connection have to hear of each other.
        self.faults.clear()
        await asyncio.gather(
            *(channel.close() for channel in self._channels),
            *(asyncio.to_thread(channel.close) for channel in self._blocking),
        )
        stopping = asyncio.ensure_future(self._server.stop())
        if isinstance(self.clock, gyr.ManualClock):
            while not (await asyncio.wait({stopping}, timeout=_TICK_S))[0]:
                self.clock.advance(_TICK_S)
        await stopping

    async def __aenter__(self) -> gyr.Channel:
        self._enter()
        server = gyr.Server(self._services, **self._server_options)
        self._listens(await server.listen(self._address))
        self._server = server
        return self.channel()

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # ------------------------------------------------------------------ threads

    def open(self) -> gyr.blocking.Channel:
        """Start to serve in a thread; a channel for threads. As entering the `with` block."""
        self._enter()
        server = gyr.blocking.Server(self._services, **self._server_options)
        try:
            self._listens(server.listen(self._address))
            server.start()
        except BaseException:
            server.stop()
            raise
        self._server = server
        return self.blocking_channel()

    def close(self) -> None:
        """Close the channels and stop the server. As leaving the `with` block; again does nothing.

        RuntimeError when it serves in an event loop: `aclose()` it there.
        """
        if self._server is None or self._closed:
            return
        if not isinstance(self._server, gyr.blocking.Server):
            raise RuntimeError(f"{self!r} serves in an event loop: await aclose() there")
        self._closed = True
        # The ends of a connection have to hear of each other.
        self.faults.clear()
        for channel in self._blocking:
            channel.close()
        if isinstance(self.clock, gyr.ManualClock):
            with ThreadPoolExecutor(1) as pool:
                stopping = pool.submit(self._server.stop)
                while not wait([stopping], timeout=_TICK_S).done:
                    self.clock.advance(_TICK_S)
            stopping.result()
        else:
            self._server.stop()

    def __enter__(self) -> gyr.blocking.Channel:
        return self.open()

    def __exit__(self, *error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ both

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError("serve() serves once: call it again for each block")
        self._entered = True

    def _listens(self, port: int) -> None:
        host, colon, asked = self._address.rpartition(":")
        if asked == "0":
            self.target = f"{host}{colon}{port}"
            self.faults = self.network.faults(self.target)

    def __repr__(self) -> str:
        return f"<Serving on {self.target}, in memory>"
