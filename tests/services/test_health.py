"""Health: what is answered for which name, who hears of a change, and what a drain does to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import gyrfalcon as gyr
from gyrfalcon.services import Health, ServingStatus
from gyrfalcon.services.health import MAX_NAME_BYTES
from gyrfalcon.services.proto.grpc.health.v1.health_gyr import HealthStub
from gyrfalcon.services.proto.grpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
)
from tests.services.serving import OWN, joined

pytestmark = pytest.mark.anyio

Status = HealthCheckResponse.ServingStatus


def asking(service: str = "") -> HealthCheckRequest:
    return HealthCheckRequest(service=service)


def named(response: HealthCheckResponse | None) -> str:
    assert response is not None
    return Status.Name(response.status)


async def check(stub: HealthStub, service: str) -> str:
    return named(await stub.check(asking(service)))


@pytest.mark.parametrize("service", ["", "readiness", "liveness", OWN, "grpc.health.v1.Health"])
async def test_what_is_served_is_serving_unless_somebody_says_otherwise(service: str) -> None:
    async with joined(Health()) as (_, channel):
        assert await check(HealthStub(channel), service) == "SERVING"


async def test_each_service_has_a_status_of_its_own() -> None:
    health = Health()
    health.set(OWN, ServingStatus.NOT_SERVING)
    health.set("my.Cache", "UNKNOWN")
    async with joined(health) as (_, channel):
        stub = HealthStub(channel)
        found = [await check(stub, name) for name in (OWN, "my.Cache", "", "grpc.health.v1.Health")]
        assert found == ["NOT_SERVING", "UNKNOWN", "SERVING", "SERVING"]


async def test_readiness_is_the_server_and_liveness_is_not() -> None:
    health = Health()
    async with joined(health) as (_, channel):
        stub = HealthStub(channel)
        health.set("readiness", False)
        names = ("", "readiness", "liveness")
        ready = [await check(stub, name) for name in names]
        health.set("", True)
        health.set("liveness", False)
        alive = [await check(stub, name) for name in names]
    assert ready == ["NOT_SERVING", "NOT_SERVING", "SERVING"]
    assert alive == ["SERVING", "SERVING", "NOT_SERVING"]


async def test_the_two_names_may_be_others_or_none() -> None:
    async with joined(Health(liveness="alive", readiness=None)) as (_, channel):
        stub = HealthStub(channel)
        assert await check(stub, "alive") == "SERVING"
        for name in ("liveness", "readiness"):
            with pytest.raises(gyr.NotFound):
                await stub.check(asking(name))


async def test_an_unknown_service_is_not_found() -> None:
    async with joined(Health()) as (_, channel):
        with pytest.raises(gyr.NotFound, match=r"no service 'shop\.Nope' here"):
            await HealthStub(channel).check(asking("shop.Nope"))


async def test_list_has_everything_that_is_known() -> None:
    health = Health()
    health.set(OWN, False)
    async with joined(health) as (_, channel):
        response = await HealthStub(channel).list(HealthListRequest())
        assert {name: named(one) for name, one in response.statuses.items()} == {
            "": "SERVING",
            "readiness": "SERVING",
            "liveness": "SERVING",
            OWN: "NOT_SERVING",
            "grpc.health.v1.Health": "SERVING",
        }


async def test_a_watcher_hears_each_change_of_its_service_and_no_other() -> None:
    health = Health()
    async with joined(health) as (_, channel), HealthStub(channel).watch(asking(OWN)) as call:
        heard = [named(await call.receive())]
        health.set(OWN, True)  # no change
        health.set("", False)  # another
        health.set(OWN, False)
        heard.append(named(await call.receive()))
        health.clear(OWN)
        heard.append(named(await call.receive()))
        health.set(OWN, "SERVING")
        heard.append(named(await call.receive()))
    assert heard == ["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN", "SERVING"]


async def test_a_service_may_be_watched_before_it_is_known() -> None:
    health = Health()
    async with (
        joined(health) as (_, channel),
        HealthStub(channel).watch(asking("shop.Later")) as call,
    ):
        first = named(await call.receive())
        health.set("shop.Later", True)
        second = named(await call.receive())
    assert (first, second) == ("SERVICE_UNKNOWN", "SERVING")


async def test_a_status_may_be_set_from_any_thread() -> None:
    health = Health()
    async with joined(health) as (_, channel), HealthStub(channel).watch(asking()) as call:
        heard = [named(await call.receive())]
        for status in (False, True):
            thread = threading.Thread(target=health.set, args=("", status))
            thread.start()
            heard.append(named(await call.receive()))
            thread.join()
    assert heard == ["SERVING", "NOT_SERVING", "SERVING"]


async def test_threads_that_race_leave_the_last_status_with_the_watcher() -> None:
    """A change that falls between a watcher's look and its waiting must still wake it."""
    health = Health()

    def flip() -> None:
        for n in range(2_000):
            health.set("", "SERVING" if n % 2 == 0 else "UNKNOWN")

    async with joined(health) as (_, channel), HealthStub(channel).watch(asking()) as call:
        await call.receive()
        threads = [threading.Thread(target=flip) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        health.set("", "NOT_SERVING")
        while named(await call.receive()) != "NOT_SERVING":
            pass
        health.set("", "UNKNOWN")
        assert named(await call.receive()) == "UNKNOWN"


async def test_a_drain_tells_watchers_and_lets_them_go() -> None:
    """A Watch never ends by itself: a server that waited for it would use up its whole grace."""
    health = Health()
    async with joined(health) as (server, channel):
        stub = HealthStub(channel)
        calls = [stub.watch(asking(name)) for name in ("", OWN, "liveness", "shop.Nope")]
        before = [named(await call.receive()) for call in calls]
        await server.stop(grace=3600.0)
        after = [[named(one) async for one in failing(call)] for call in calls]
        ends = [(await call.status()).code for call in calls]
    assert before == ["SERVING", "SERVING", "SERVING", "SERVICE_UNKNOWN"]
    assert after == [["NOT_SERVING"], ["NOT_SERVING"], [], []]
    assert ends == [gyr.StatusCode.UNAVAILABLE] * 4


async def failing(call: Any) -> AsyncIterator[HealthCheckResponse]:
    """What still comes of a call that ends with Unavailable."""
    try:
        async for one in call:
            yield one
    except gyr.Unavailable:
        pass


async def test_a_draining_server_answers_checks_not_serving_but_is_alive() -> None:
    health = Health()
    async with joined(health) as (server, channel):
        del channel
        health.server_draining(server)
        health.set("", True)  # kept, not shown
        shown = [health.get(name) for name in ("", "readiness", OWN, "liveness", "shop.Nope")]
        health.server_starting(server)
        again = health.get("")
    bad, good = ServingStatus.NOT_SERVING, ServingStatus.SERVING
    assert shown == [bad, bad, bad, good, None]
    assert again == good


async def test_watchers_are_counted_while_they_watch() -> None:
    async with joined(Health(max_watchers=2)) as (_, channel):
        stub = HealthStub(channel)
        async with stub.watch(asking()) as one, stub.watch(asking(OWN)) as two:
            await one.receive()
            await two.receive()
            with pytest.raises(gyr.ResourceExhausted, match="max_watchers=2"):
                await stub.watch(asking()).receive()
        # They are gone when the server has heard that they were cancelled.
        while True:
            async with stub.watch(asking()) as three:
                try:
                    assert named(await three.receive()) == "SERVING"
                    break
                except gyr.ResourceExhausted:
                    continue


async def test_nothing_is_kept_of_watchers_that_left() -> None:
    health = Health()
    async with joined(health) as (server, channel):
        async with HealthStub(channel).watch(asking("shop.Nope")) as call:
            await call.receive()
        await server.stop()
    assert (health._watchers, health._watching) == ({}, 0)


@pytest.mark.parametrize("method", ["check", "watch"])
async def test_the_length_of_a_name_is_bounded(method: str) -> None:
    async with joined(Health()) as (_, channel):
        stub = HealthStub(channel)
        request = asking("ü" * (MAX_NAME_BYTES // 2) + "x")
        call = stub.check(request) if method == "check" else stub.watch(request)
        assert (await call.status()).code is gyr.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("status", ["FINE", 3, -1, "SERVICE_UNKNOWN"])
async def test_what_is_no_status_is_refused(status: Any) -> None:
    with pytest.raises(ValueError, match=r"is no serving status: it is one of UNKNOWN, SERVING"):
        Health().set("", status)


async def test_mistakes_are_named() -> None:
    health: Any = Health()
    with pytest.raises(TypeError, match="service=None is no name"):
        health.set(None, True)
    with pytest.raises(ValueError, match="cannot be forgotten"):
        health.clear("readiness")
    with pytest.raises(ValueError, match="max_watchers=-1"):
        Health(max_watchers=-1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (True, ServingStatus.SERVING),
        (False, ServingStatus.NOT_SERVING),
        (1, ServingStatus.SERVING),
        ("UNKNOWN", ServingStatus.UNKNOWN),
        (HealthCheckResponse.NOT_SERVING, ServingStatus.NOT_SERVING),
    ],
)
async def test_a_status_may_be_written_in_several_ways(status: Any, expected: Any) -> None:
    health = Health()
    health.set("a", status)
    assert health.get("a") is expected
