"""What services hear of their server's life, and when."""

from __future__ import annotations

import asyncio
import logging

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, SERVICE, UNARY, Calls, message

pytestmark = pytest.mark.anyio


class Observing(Calls, gyr.ServerObserver):
    """Writes down what it hears; handlers as of `Calls`."""

    heard: list[str]
    draining: asyncio.Event

    def server_starting(self, server: gyr.Server) -> None:
        self.heard.append(f"starting {[one.name for one in server.services]}")

    def server_draining(self, server: gyr.Server) -> None:
        self.heard.append("draining")
        self.draining.set()

    def server_stopped(self, server: gyr.Server) -> None:
        self.heard.append("stopped")


async def test_each_event_comes_once_and_in_its_place() -> None:
    heard: list[str] = []
    called, release = asyncio.Event(), asyncio.Event()

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        heard.append("called")
        called.set()
        await release.wait()
        heard.append("answered")
        return request

    service = Observing(unary=unary, heard=heard, draining=asyncio.Event())
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([service]) as server:
        port = await server.listen("127.0.0.1:0")
        await server.listen("127.0.0.1:0")
        async with gyr.Channel(f"127.0.0.1:{port}") as channel:
            call = gyr.UnaryUnary[BytesValue, BytesValue](channel, UNARY)(message())
            await called.wait()
            stopping = asyncio.create_task(server.stop())
            await service.draining.wait()
            release.set()
            await call
            await stopping
    assert heard == [f"starting ['{SERVICE}']", "called", "draining", "answered", "stopped"]


async def test_a_server_that_never_listened_tells_nothing() -> None:
    heard: list[str] = []
    async with gyr.Server([Observing(heard=heard, draining=asyncio.Event())]):
        pass
    assert heard == []


async def test_what_starting_raises_comes_out_of_listen() -> None:
    class Unready(Calls, gyr.ServerObserver):
        def server_starting(self, server: gyr.Server) -> None:
            raise RuntimeError("the database is away")

    async with gyr.Server([Unready()]) as server:
        with pytest.raises(RuntimeError, match="the database is away"):
            await server.listen("127.0.0.1:0")


async def test_what_the_others_raise_is_logged_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Calls, gyr.ServerObserver):
        def server_draining(self, server: gyr.Server) -> None:
            raise RuntimeError("draining failed")

        def server_stopped(self, server: gyr.Server) -> None:
            raise RuntimeError("stopped failed")

    async with gyr.Server([Failing()]) as server:
        await server.listen("127.0.0.1:0")
        with caplog.at_level(logging.ERROR, "gyrfalcon.server"):
            await server.stop()
            await server.wait_closed()
    errors = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert errors == ["draining failed", "stopped failed"]
