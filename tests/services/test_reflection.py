"""Reflection: each kind of request in both versions, and what is not found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

import gyrfalcon as gyr
from gyrfalcon.services import Health, Reflection
from gyrfalcon.services.proto.grpc.reflection.v1 import reflection_pb2 as v1
from gyrfalcon.services.proto.grpc.reflection.v1.reflection_gyr import ServerReflectionStub
from gyrfalcon.services.proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from gyrfalcon.services.proto.grpc.reflection.v1alpha.reflection_gyr import (
    ServerReflectionStub as ServerReflectionStubAlpha,
)
from tests.services.serving import OWN, joined

pytestmark = pytest.mark.anyio


def extended_pool() -> DescriptorPool:
    """A pool of its own, with a message that two files extend and a service in a third."""
    pool = DescriptorPool()
    base = descriptor_pb2.FileDescriptorProto(
        name="open/base.proto", package="open", syntax="proto2"
    )
    base.message_type.add(name="Base").extension_range.add(start=100, end=200)
    pool.AddSerializedFile(base.SerializeToString())
    for number, name in ((101, "one"), (150, "two")):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"open/{name}.proto", package="open", syntax="proto2", dependency=[base.name]
        )
        file.extension.add(
            name=name,
            number=number,
            extendee=".open.Base",
            label="LABEL_OPTIONAL",
            type="TYPE_BOOL",
        )
        pool.AddSerializedFile(file.SerializeToString())
    service = descriptor_pb2.FileDescriptorProto(
        name="open/service.proto", package="open", dependency=["open/one.proto", base.name]
    )
    method = service.service.add(name="Door").method.add(name="Knock")
    method.input_type = method.output_type = ".open.Base"
    pool.AddSerializedFile(service.SerializeToString())
    return pool


def make_door() -> gyr.Service:
    """A service whose messages are in a pool of their own."""
    base = message_factory.GetMessageClass(extended_pool().FindMessageTypeByName("open.Base"))
    knock: Any = gyr.Method("open.Door", "Knock", "knock", gyr.Pattern.UNARY_UNARY, base, base)

    class Door(gyr.Service):
        __gyr_service__: ClassVar[gyr.ServiceDefinition] = gyr.ServiceDefinition(
            "open.Door", (knock,)
        )

    return Door()


class Asker:
    """One stream of one version."""

    def __init__(self, words: Any, call: Any) -> None:
        self._words = words
        self._call = call

    async def ask(self, **request: Any) -> Any:
        await self._call.send(self._words.ServerReflectionRequest(**request))
        return await self._call.receive()

    async def files(self, **request: Any) -> list[str]:
        """The names of the files in the answer, the one that was asked for first."""
        answer = await self.ask(**request)
        return [
            descriptor_pb2.FileDescriptorProto.FromString(file).name
            for file in answer.file_descriptor_response.file_descriptor_proto
        ]


@asynccontextmanager
async def reflecting(version: str = "v1", *services: gyr.Service) -> AsyncIterator[Asker]:
    async with joined(Reflection(), *services) as (_, channel):
        stub: Any
        words: Any
        if version == "v1":
            stub, words = ServerReflectionStub(channel), v1
        else:
            stub, words = ServerReflectionStubAlpha(channel), v1alpha
        async with stub.server_reflection_info() as call:
            yield Asker(words, call)


VERSIONS = pytest.mark.parametrize("version", ["v1", "v1alpha"])


@VERSIONS
async def test_list_services_has_all_of_the_server(version: str) -> None:
    async with reflecting(version, Health()) as asker:
        answer = await asker.ask(host="me", list_services="")
    assert [one.name for one in answer.list_services_response.service] == [
        OWN,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    assert (answer.valid_host, answer.original_request.host) == ("me", "me")
    assert answer.DESCRIPTOR.full_name == f"grpc.reflection.{version}.ServerReflectionResponse"


@VERSIONS
async def test_a_file_by_name_comes_with_what_it_imports(version: str) -> None:
    async with reflecting(version) as asker:
        files = await asker.files(file_by_filename="order_management.proto")
    assert files == ["order_management.proto", "google/protobuf/wrappers.proto"]


@VERSIONS
@pytest.mark.parametrize(
    "symbol",
    [
        OWN,
        f"{OWN}.getOrder",
        "ecommerce.Order",
        "ecommerce.Order.price",
        "ecommerce.CombinedShipment.ordersList",
    ],
)
async def test_a_file_by_a_symbol_in_it(version: str, symbol: str) -> None:
    async with reflecting(version) as asker:
        files = await asker.files(file_containing_symbol=symbol)
    assert files[0] == "order_management.proto"


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("open.Door", "open/service.proto"),
        ("open.Door.Knock", "open/service.proto"),
        ("open.Base", "open/base.proto"),
        ("open.two", "open/two.proto"),
        ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"),
        ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"),
        ("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"),
        ("google.protobuf.Value.kind", "google/protobuf/struct.proto"),
    ],
)
async def test_every_pool_of_the_services_is_searched(symbol: str, file: str) -> None:
    from google.protobuf import struct_pb2  # noqa: F401  (in the default pool, served by nobody)

    async with reflecting("v1", Health(), make_door()) as asker:
        assert (await asker.files(file_containing_symbol=symbol))[0] == file


@VERSIONS
async def test_extensions_are_found_by_number(version: str) -> None:
    async with reflecting(version, make_door()) as asker:
        numbers = await asker.ask(all_extension_numbers_of_type="open.Base")
        wanted = {"containing_type": "open.Base", "extension_number": 150}
        files = await asker.files(file_containing_extension=wanted)
    found = numbers.all_extension_numbers_response
    assert (found.base_type_name, list(found.extension_number)) == ("open.Base", [101, 150])
    assert files == ["open/two.proto", "open/base.proto"]


async def test_a_message_without_extensions_has_no_numbers() -> None:
    async with reflecting() as asker:
        answer = await asker.ask(all_extension_numbers_of_type="ecommerce.Order")
    assert answer.WhichOneof("message_response") == "all_extension_numbers_response"
    assert list(answer.all_extension_numbers_response.extension_number) == []


async def test_imports_are_sent_once_on_a_stream() -> None:
    async with reflecting("v1", make_door()) as asker:
        first = await asker.files(file_by_filename="open/service.proto")
        second = await asker.files(file_by_filename="open/two.proto")
        again = await asker.files(file_by_filename="open/service.proto")
    assert sorted(first) == ["open/base.proto", "open/one.proto", "open/service.proto"]
    assert first[0] == "open/service.proto"
    assert second == ["open/two.proto"]
    assert again == ["open/service.proto"]


@VERSIONS
@pytest.mark.parametrize(
    ("request_fields", "code", "message"),
    [
        ({"file_by_filename": "nope.proto"}, 5, "no file 'nope.proto' here"),
        ({"file_containing_symbol": "a.Nope"}, 5, "no symbol 'a.Nope' here"),
        ({"file_containing_symbol": f"{OWN}.nope"}, 5, f"no symbol '{OWN}.nope' here"),
        ({"file_containing_symbol": "ecommerce"}, 5, "no symbol 'ecommerce' here"),
        ({"file_containing_symbol": ""}, 5, "no symbol '' here"),
        ({"all_extension_numbers_of_type": "a.Nope"}, 5, "no message 'a.Nope' here"),
        (
            {"file_containing_extension": {"containing_type": OWN, "extension_number": 1}},
            5,
            f"no extension 1 of '{OWN}' here",
        ),
        ({}, 3, "the request asks for nothing"),
    ],
)
async def test_an_error_is_an_answer_and_the_call_goes_on(
    version: str, request_fields: dict[str, Any], code: int, message: str
) -> None:
    async with reflecting(version) as asker:
        answer = await asker.ask(**request_fields)
        next_one = await asker.ask(list_services="*")
    error = answer.error_response
    assert (error.error_code, error.error_message) == (code, message)
    assert next_one.WhichOneof("message_response") == "list_services_response"


async def test_the_stream_ends_with_its_client() -> None:
    async with joined(Reflection()) as (_, channel):
        requests = [v1.ServerReflectionRequest(list_services="")] * 3
        call = ServerReflectionStub(channel).server_reflection_info(requests)
        answers = [one async for one in call]
        status = await call.status()
    assert (len(answers), status.code) == (3, gyr.StatusCode.OK)


async def test_a_service_without_protobuf_is_listed_and_not_described() -> None:
    raw: Any = gyr.Method(
        "plain.Bytes", "Echo", "echo", gyr.Pattern.UNARY_UNARY, bytes, bytes, gyr.PROTOBUF
    )

    class Plain(gyr.Service):
        __gyr_service__: ClassVar[gyr.ServiceDefinition] = gyr.ServiceDefinition(
            "plain.Bytes", (raw,)
        )

    async with reflecting("v1", Plain()) as asker:
        names = (await asker.ask(list_services="")).list_services_response.service
        answer = await asker.ask(file_containing_symbol="plain.Bytes")
    assert "plain.Bytes" in [one.name for one in names]
    assert answer.error_response.error_code == 5
