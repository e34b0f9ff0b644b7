"""Reflection between this and grpcio-reflection, in both directions, and for grpcurl."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

import gyrfalcon as gyr
from gyrfalcon.services import Channelz, Health, Reflection
from gyrfalcon.services.proto.grpc.reflection.v1alpha import reflection_pb2 as own_pb2
from gyrfalcon.services.proto.grpc.reflection.v1alpha.reflection_gyr import ServerReflectionStub
from tests.call.service import SAFETY_NET_S
from tests.certificates import Certificates
from tests.services.serving import OWN, Orders

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
NAMES = [
    OWN,
    "grpc.channelz.v1.Channelz",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
]


@asynccontextmanager
async def own_server(tls: gyr.ServerTLS | None = None) -> AsyncIterator[str]:
    """The target of a server that reflects."""
    services = [Orders(), Health(), Reflection(), Channelz()]
    async with asyncio.timeout(SAFETY_NET_S), gyr.Server(services, tls=tls) as server:
        yield f"127.0.0.1:{await server.listen('127.0.0.1:0')}"


def describe(target: str) -> dict[str, Any]:
    """What a stock client makes of the server's descriptors."""
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        service = pool.FindServiceByName(OWN)
        health = pool.FindServiceByName("grpc.health.v1.Health")
        return {
            "services": sorted(database.get_services()),
            "methods": [method.name for method in service.methods],
            "reply": service.methods_by_name["processOrders"].output_type.full_name,
            "health": [method.name for method in health.methods],
            "file": pool.FindFileByName("order_management.proto").package,
        }


async def test_a_stock_client_finds_services_and_messages() -> None:
    async with own_server() as target:
        found = await asyncio.to_thread(describe, target)
    assert found == {
        "services": NAMES,
        "methods": ["addOrder", "getOrder", "searchOrders", "updateOrders", "processOrders"],
        "reply": "ecommerce.CombinedShipment",
        "health": ["Check", "List", "Watch"],
        "file": "ecommerce",
    }


async def test_a_stock_server_is_asked() -> None:
    server = grpc.aio.server()
    reflection.enable_server_reflection([OWN, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    requests = [
        own_pb2.ServerReflectionRequest(list_services=""),
        own_pb2.ServerReflectionRequest(file_containing_symbol=OWN),
        own_pb2.ServerReflectionRequest(file_by_filename="nope.proto"),
    ]
    try:
        async with asyncio.timeout(SAFETY_NET_S), gyr.Channel(f"127.0.0.1:{port}") as channel:
            call = ServerReflectionStub(channel).server_reflection_info(requests)
            listed, file, missing = [answer async for answer in call]
    finally:
        await server.stop(None)
    assert OWN in [one.name for one in listed.list_services_response.service]
    assert len(file.file_descriptor_response.file_descriptor_proto) > 0
    assert missing.error_response.error_code == 5


@pytest.fixture(scope="session")
def grpcurl() -> str:
    """The program, built where it is not installed and Go is."""
    found = shutil.which("grpcurl")
    if found is not None:
        return found
    go = shutil.which("go")
    if go is None:
        pytest.skip("neither grpcurl nor go is installed")
    folder = ROOT / "build" / "go-bin"
    if not (folder / "grpcurl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        built = subprocess.run(
            [go, "install", GRPCURL],
            env={**os.environ, "GOBIN": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            pytest.skip(f"grpcurl cannot be built here: {built.stderr.strip()[-200:]}")
    return str(folder / "grpcurl")


class Curl:
    """grpcurl, and the server's side of the transport that it uses."""

    def __init__(self, program: str, tls: gyr.ServerTLS | None, *flags: str | Path) -> None:
        self.tls = tls
        self._command = [program, *map(str, flags)]

    async def __call__(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode().strip()


@pytest.fixture(params=["plaintext", "tls", "mutual tls"])
def curl(request: pytest.FixtureRequest, grpcurl: str, certificates: Certificates) -> Curl:
    if request.param == "plaintext":
        return Curl(grpcurl, None, "-plaintext")
    trust = ("-cacert", certificates.ca)
    if request.param == "tls":
        return Curl(grpcurl, certificates.server_tls(), *trust)
    proof = ("-cert", certificates.client_cert, "-key", certificates.client_key)
    asking = certificates.server_tls(client_ca=True, require_client=True)
    return Curl(grpcurl, asking, *trust, *proof)


async def test_grpcurl_lists(curl: Curl) -> None:
    async with own_server(curl.tls) as target:
        services = await curl(target, "list")
        methods = await curl(target, "list", OWN)
    assert services.splitlines() == NAMES
    names = ("addOrder", "getOrder", "processOrders", "searchOrders", "updateOrders")
    assert methods.splitlines() == [f"{OWN}.{name}" for name in names]


DESCRIPTIONS = {
    "ecommerce.CombinedShipment": """\
ecommerce.CombinedShipment is a message:
message CombinedShipment {
  string id = 1;
  string status = 2;
  repeated .ecommerce.Order ordersList = 3;
}""",
    f"{OWN}.getOrder": f"""\
{OWN}.getOrder is a method:
rpc getOrder ( .google.protobuf.StringValue ) returns ( .ecommerce.Order );""",
}


@pytest.mark.parametrize("symbol", DESCRIPTIONS)
async def test_grpcurl_describes(curl: Curl, symbol: str) -> None:
    async with own_server(curl.tls) as target:
        assert await curl(target, "describe", symbol) == DESCRIPTIONS[symbol]


@pytest.mark.parametrize(
    ("data", "method", "expected"),
    [
        ('"106"', f"{OWN}/getOrder", {"id": "106"}),
        ("{}", "grpc.health.v1.Health/Check", {"status": "SERVING"}),
        (
            '{"max_results": 1, "start_server_id": "1000000000"}',
            "grpc.channelz.v1.Channelz/GetServers",
            {"end": True},
        ),
    ],
)
async def test_grpcurl_calls(curl: Curl, data: str, method: str, expected: Any) -> None:
    async with own_server(curl.tls) as target:
        assert json.loads(await curl("-d", data, target, method)) == expected
