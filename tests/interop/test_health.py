"""grpc.health.v1 between this and grpcio-health-checking, in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import gyrfalcon as gyr
from gyrfalcon.services import Health
from gyrfalcon.services.proto.grpc.health.v1 import health_pb2 as own_pb2
from gyrfalcon.services.proto.grpc.health.v1.health_gyr import HealthStub
from tests.call.service import SAFETY_NET_S

pytestmark = pytest.mark.anyio

SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)
UNKNOWN_SERVICE = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@asynccontextmanager
async def stock_client(own: Health) -> AsyncIterator[tuple[gyr.Server, Any]]:
    """grpcio's stub of a server of ours."""
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server([own]) as server:
        port = await server.listen("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield server, health_pb2_grpc.HealthStub(channel)


@asynccontextmanager
async def stock_server() -> AsyncIterator[tuple[Any, HealthStub]]:
    """Our stub of a server of grpcio's, and its servicer."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with asyncio.timeout(SAFETY_NET_S), gyr.Channel(f"127.0.0.1:{port}") as channel:
            yield servicer, HealthStub(channel)
    finally:
        await server.stop(None)


async def test_a_stock_client_checks() -> None:
    own = Health()
    async with stock_client(own) as (_, stub):
        before = await stub.Check(health_pb2.HealthCheckRequest())
        own.set("", "NOT_SERVING")
        after = await stub.Check(health_pb2.HealthCheckRequest(service="readiness"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert (before.status, after.status) == (SERVING, NOT_SERVING)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_stock_client_lists() -> None:
    own = Health(liveness=None, readiness=None)
    own.set("shop.Cart", False)
    async with stock_client(own) as (_, stub):
        request = health_pb2.HealthListRequest()  # pyright: ignore[reportAttributeAccessIssue]
        answer = await stub.List(request)
    assert {name: one.status for name, one in answer.statuses.items()} == {
        "": SERVING,
        "shop.Cart": NOT_SERVING,
        "grpc.health.v1.Health": SERVING,
    }


async def test_a_stock_client_watches_until_the_drain() -> None:
    own = Health()
    async with stock_client(own) as (server, stub):
        call = stub.Watch(health_pb2.HealthCheckRequest(service="shop.Cart"))
        heard = [(await call.read()).status]
        own.set("shop.Cart", True)
        heard.append((await call.read()).status)
        stopping = asyncio.create_task(server.stop(grace=3600.0))
        heard.append((await call.read()).status)
        code = await call.code()
        await stopping
    assert heard == [UNKNOWN_SERVICE, SERVING, NOT_SERVING]
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_stock_server_is_checked() -> None:
    async with stock_server() as (servicer, stub):
        await servicer.set("shop.Cart", NOT_SERVING)
        one = await stub.check(own_pb2.HealthCheckRequest(service="shop.Cart"))
        with pytest.raises(gyr.NotFound):
            await stub.check(own_pb2.HealthCheckRequest(service="nope"))
    assert one.status == own_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_stock_server_is_watched() -> None:
    request = own_pb2.HealthCheckRequest(service="shop.Cart")
    async with stock_server() as (servicer, stub), stub.watch(request) as call:
        heard = [await call.receive()]
        await servicer.set("shop.Cart", SERVING)
        heard.append(await call.receive())
    assert [one and one.status for one in heard] == [UNKNOWN_SERVICE, SERVING]
