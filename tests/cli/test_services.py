"""`gyr` against the services that come with Gyrfalcon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gyrfalcon as gyr
from tests.cli.running import Ran, run
from tests.cli.zoo import keeper, serving


@pytest.fixture
def target() -> Iterator[str]:
    with serving(keeper(), gyr.services.Health(), gyr.services.Reflection()) as address:
        yield address


def test_list(target: str) -> None:
    services = (
        "grpc.health.v1.Health\ngrpc.reflection.v1.ServerReflection\n"
        "grpc.reflection.v1alpha.ServerReflection\nzoo.Keeper\n"
    )
    assert run("list", target) == Ran(0, services, "")


@pytest.mark.parametrize(
    "service",
    [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "zoo.Keeper",
    ],
)
def test_every_service_can_be_described(target: str, service: str) -> None:
    ran = run("describe", target, service)
    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"// {service}, in ")


def test_call_with_an_any_and_with_an_extension(target: str) -> None:
    request = '{"tag": {"@type": "type.googleapis.com/zoo.chips.Chip", "number": "7"}}'
    assert run("call", target, "zoo.Keeper/Greet", "-d", request) == Ran(0, f"{request}\n", "")
    expected = '{"text": "trill", "[zoo.chips.instrument]": "flute"}\n'
    assert run("call", target, "zoo.Keeper/Whistle", "-d", '"trill"') == Ran(0, expected, "")


def test_a_service_called_by_its_own_definition(target: str) -> None:
    ran = run("call", target, "grpc.health.v1.Health/Check", "-d", '{"service": "zoo.Keeper"}')
    assert ran == Ran(0, '{"status": "SERVING"}\n', "")


def test_health(target: str) -> None:
    assert run("health", target, "zoo.Keeper") == Ran(0, "SERVING\n", "")
    listed = run("health", target, "--list")
    assert (listed.status, listed.stderr) == (0, "")
    assert "(server): SERVING\n" in listed.stdout
    assert "zoo.Keeper: SERVING\n" in listed.stdout
