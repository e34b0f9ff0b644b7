"""`gyr` on the command line against stock grpcio, its reflection and its health service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from tests.cli.running import Ran, run
from tests.cli.zoo import message, pool

Animal, Int64 = message("zoo.Animal"), message("google.protobuf.Int64Value")


def greet(request: Any, context: grpc.ServicerContext) -> Any:
    context.send_initial_metadata((("keeper", "Ada"),))
    context.set_trailing_metadata((("badge-bin", b"\xff\x00"),))
    if request.name == "lost":
        context.abort(grpc.StatusCode.NOT_FOUND, "no animal 'lost'")
    return request


def parade(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    for number in range(request.weight):
        yield Animal(name=f"{request.name} {number}")


def count(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    return Int64(value=len(list(requests)))


def echo(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    yield from requests


def handlers() -> grpc.GenericRpcHandler:
    take, give = Animal.FromString, Animal.SerializeToString
    return grpc.method_handlers_generic_handler(
        "zoo.Keeper",
        {
            "Greet": grpc.unary_unary_rpc_method_handler(greet, take, give),
            "Parade": grpc.unary_stream_rpc_method_handler(parade, take, give),
            "Count": grpc.stream_unary_rpc_method_handler(count, take, Int64.SerializeToString),
            "Echo": grpc.stream_stream_rpc_method_handler(echo, take, give),
        },
    )


@pytest.fixture
def target() -> Iterator[str]:
    with ThreadPoolExecutor(8) as workers:
        server = grpc.server(workers)
        server.add_generic_rpc_handlers((handlers(),))
        services = ("zoo.Keeper", reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, server, pool())
        servicer = health.HealthServicer()
        servicer.set("zoo.Keeper", health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


CALLS = {
    "Greet": (["-d", '{"name": "a"}'], '{"name": "a"}\n'),
    "Parade": (["-d", '{"name": "a", "weight": 2}'], '{"name": "a 0"}\n{"name": "a 1"}\n'),
    "Count": (["-d", "{}", "-d", "{}"], '"2"\n'),
    "Echo": (["-d", '{"name": "a"}', "-d", '{"name": "b"}'], '{"name": "a"}\n{"name": "b"}\n'),
}


@pytest.mark.parametrize("method", CALLS)
def test_call(target: str, method: str) -> None:
    data, expected = CALLS[method]
    assert run("call", target, f"zoo.Keeper/{method}", *data) == Ran(0, expected, "")


def test_metadata_and_an_error(target: str) -> None:
    data = ["-d", '{"name": "lost"}', "--show-metadata"]
    shown = (
        "initial metadata:\n  keeper: Ada\ntrailing metadata:\n  badge-bin: /wA=\n"
        "Error: NOT_FOUND: no animal 'lost'\n"
    )
    assert run("call", target, "zoo.Keeper/Greet", *data) == Ran(64 + 5, "", shown)


def test_list_and_describe(target: str) -> None:
    services = "grpc.reflection.v1alpha.ServerReflection\nzoo.Keeper\n"
    assert run("list", target) == Ran(0, services, "")
    described = run("describe", target, "zoo.Keeper.Count").stdout.splitlines()[1]
    assert described == "rpc Count (stream zoo.Animal) returns (google.protobuf.Int64Value);"


def test_health(target: str) -> None:
    ran = [run("health", target, *service) for service in ([], ["zoo.Keeper"])]
    assert ran == [Ran(0, "SERVING\n", ""), Ran(1, "NOT_SERVING\n", "")]
    expected = "Error: NOT_FOUND: the health service knows no 'x'\n"
    assert run("health", target, "x") == Ran(64 + 5, "", expected)


@pytest.mark.parametrize("method", CALLS)
def test_bench(target: str, method: str) -> None:
    data = CALLS[method][0]
    arguments = ["-n", "20", "-c", "4", "--warmup", "0", "--json", "-", *data]
    ran = run("bench", target, f"zoo.Keeper/{method}", *arguments)
    found = json.loads(ran.stdout)
    assert (ran.status, found["statuses"], ran.stderr) == (0, {"OK": 20}, "")
