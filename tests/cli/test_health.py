"""`gyr health` against a health service whose answers the test decides."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

import gyrfalcon as gyr
from gyrfalcon.services.proto.grpc.health.v1.health_gyr import HealthService
from gyrfalcon.services.proto.grpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from tests.cli.running import Ran, run, start
from tests.cli.zoo import keeper, serving

STATUSES = {"": 1, "zoo.Keeper": 2, "zoo.Vet": 7}


class Health(HealthService):
    async def check(
        self, request: HealthCheckRequest, ctx: gyr.ServerContext
    ) -> HealthCheckResponse:
        if request.service == "slow":
            await asyncio.Event().wait()
        if request.service not in STATUSES:
            raise gyr.NotFound
        return answer(STATUSES[request.service])

    async def watch(
        self, request: HealthCheckRequest, ctx: gyr.ServerContext
    ) -> AsyncIterator[HealthCheckResponse]:
        for status in (3, 2, 1):
            yield answer(status)
        if request.service != "short":
            await asyncio.Event().wait()

    async def list(self, request: HealthListRequest, ctx: gyr.ServerContext) -> HealthListResponse:
        return HealthListResponse(
            statuses={service: answer(status) for service, status in STATUSES.items()}
        )


def answer(status: Any) -> HealthCheckResponse:
    return HealthCheckResponse(status=status)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ([], Ran(0, "SERVING\n", "")),
        (["zoo.Keeper"], Ran(1, "NOT_SERVING\n", "")),
        (["zoo.Vet"], Ran(1, "7\n", "")),
        (["x"], Ran(69, "", "Error: NOT_FOUND: the health service knows no 'x'\n")),
    ],
)
def test_check(service: list[str], expected: Ran) -> None:
    with serving(Health()) as target:
        assert run("health", target, *service) == expected


def test_list() -> None:
    with serving(Health()) as target:
        ran = run("health", target, "--list")
    assert ran == Ran(1, "(server): SERVING\nzoo.Keeper: NOT_SERVING\nzoo.Vet: 7\n", "")


def test_watch_writes_each_change_and_ends_with_the_stream() -> None:
    with serving(Health()) as target:
        ran = run("health", target, "short", "--watch")
    assert ran == Ran(0, "SERVICE_UNKNOWN\nNOT_SERVING\nSERVING\n", "")


def test_ctrl_c_ends_watch() -> None:
    with serving(Health()) as target, start("health", target, "--watch") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.communicate() == ("", "")
    assert lines == ["SERVICE_UNKNOWN\n", "NOT_SERVING\n", "SERVING\n"]


def test_a_deadline() -> None:
    with serving(Health()) as target:
        ran = run("health", target, "slow", "--timeout", "0.2")
    assert (ran.status, ran.stdout) == (64 + 4, "")


@pytest.mark.parametrize(
    ("option", "missing"), [([], "health service"), (["--list"], "health service that lists")]
)
def test_a_server_without_the_service(option: list[str], missing: str) -> None:
    with serving(keeper()) as target:
        ran = run("health", target, *option)
    assert (ran.status, ran.stdout) == (64 + 12, "")
    assert ran.stderr.startswith(f"Error: UNIMPLEMENTED: the server has no {missing}: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--watch", "--list"], "--watch follows one service: leave --list out"),
        (["a.B", "--list"], "--list shows every service: leave 'a.B' out"),
    ],
)
def test_options_that_exclude_each_other(arguments: list[str], expected: str) -> None:
    ran = run("health", "localhost:1", *arguments)
    assert ran.status == 2
    assert ran.stderr.endswith(f"Error: {expected}\n")
