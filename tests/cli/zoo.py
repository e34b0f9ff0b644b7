"""The service that the command is tried on, and a reflection service that can be made to misbehave.

Message classes are made from the .proto files in a pool of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from anyio.from_thread import start_blocking_portal
from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import gyrfalcon as gyr
from gyrfalcon.codegen.protoc import read_descriptors
from gyrfalcon.services.proto.grpc.reflection.v1 import reflection_pb2 as v1
from gyrfalcon.services.proto.grpc.reflection.v1.reflection_gyr import (
    ServerReflectionService as ServiceV1,
)
from gyrfalcon.services.proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from gyrfalcon.services.proto.grpc.reflection.v1alpha.reflection_gyr import (
    ServerReflectionService as ServiceV1Alpha,
)

PROTOS = Path(__file__).parent / "protos"


@cache
def files() -> dict[str, FileDescriptorProto]:
    """The files of protos/, with all that they import, by name."""
    found = read_descriptors(sorted(PROTOS.glob("*.proto")), [PROTOS])
    for file in found:
        file.ClearField("source_code_info")  # servers have none
    return {file.name: file for file in found}


@cache
def pool() -> DescriptorPool:
    made = DescriptorPool()
    for file in files().values():
        made.AddSerializedFile(file.SerializeToString())
    return made


def message(name: str) -> Any:
    """A message class: "zoo.Animal"."""
    return GetMessageClass(pool().FindMessageTypeByName(name))


def method(name: str, pattern: gyr.Pattern, request: str, response: str) -> gyr.Method[Any, Any]:
    taken, given = message(request), message(response)
    return gyr.Method("zoo.Keeper", name, name.lower(), pattern, taken, given)


@cache
def definition() -> gyr.ServiceDefinition:
    animal = "zoo.Animal"
    return gyr.ServiceDefinition(
        "zoo.Keeper",
        (
            method("Greet", gyr.Pattern.UNARY_UNARY, animal, animal),
            method("Parade", gyr.Pattern.UNARY_STREAM, animal, animal),
            method("Count", gyr.Pattern.STREAM_UNARY, animal, "google.protobuf.Int64Value"),
            method("Echo", gyr.Pattern.STREAM_STREAM, animal, animal),
            method("Whistle", gyr.Pattern.UNARY_UNARY, "google.protobuf.StringValue", "zoo.Sound"),
        ),
    )


def keeper(seen: Callable[[str], object] = str) -> gyr.Service:
    """The service, whose class needs protoc to be made. `seen` hears the name in a Greet."""

    class KeeperService(gyr.Service):
        __gyr_service__: ClassVar[gyr.ServiceDefinition] = definition()

    class Keeper(KeeperService):
        async def greet(self, request: Any, ctx: gyr.ServerContext) -> Any:
            seen(request.name)
            if request.name == "slow":
                await asyncio.Event().wait()
            if request.name == "lost":
                details = [
                    wrappers_pb2.StringValue(value="try the \x1bbears"),
                    any_pb2.Any(type_url="type.googleapis.com/zoo.chips.Chip", value=b"\n\x017"),
                    any_pb2.Any(type_url="type.googleapis.com/nobody.Knows", value=b"\x08\x01"),
                ]
                raise gyr.NotFound("no animal 'lost'\n\x1b[31mHint: none", details=details)
            if request.name == "odd":
                request.tag.type_url = "type.googleapis.com/nobody.Knows"
                request.tag.value = b"\x08\x01"
            await ctx.send_initial_metadata({"keeper": "Ada", "badge-bin": b"\xff\x00"})
            ctx.trailing_metadata.add("seen", str(ctx.metadata.get("who", "nobody")))
            return request

        async def parade(self, request: Any, ctx: gyr.ServerContext) -> AsyncIterator[Any]:
            for number in range(request.weight):
                yield message("zoo.Animal")(name=f"{request.name} {number}")
            if request.name == "broken":
                raise gyr.Aborted("it rains")
            if request.name == "endless":
                await asyncio.Event().wait()

        async def count(self, requests: Any, ctx: gyr.ServerContext) -> Any:
            number = 0
            async for request in requests:
                if request.name == "enough":
                    break
                number += 1
            return message("google.protobuf.Int64Value")(value=number)

        async def echo(self, requests: Any, ctx: gyr.ServerContext) -> AsyncIterator[Any]:
            async for request in requests:
                yield request

        async def whistle(self, request: Any, ctx: gyr.ServerContext) -> Any:
            sound = message("zoo.Sound")(text=request.value)
            sound.Extensions[pool().FindExtensionByName("zoo.chips.instrument")] = "flute"
            return sound

    return Keeper()


class Mirror:
    """What a reflection service knows; tests change it."""

    def __init__(self) -> None:
        self.files = dict(files())
        self.services = ["zoo.Keeper"]
        self.asked: list[str] = []
        self.error: tuple[int, str] | None = None
        self.failures: dict[str, gyr.RpcError] = {}
        self.answers = 1
        self.garbage = b""

    def answer(self, request: Any, answer: Any) -> None:
        kind = request.WhichOneof("message_request")
        if kind in self.failures:
            raise self.failures[kind]
        self.asked.append(f"{kind} {getattr(request, kind)}".strip().replace("\n", " "))
        if self.error is not None:
            answer.error_response.error_code, answer.error_response.error_message = self.error
            return
        if kind == "list_services":
            for name in self.services:
                answer.list_services_response.service.add(name=name)
            return
        if kind == "all_extension_numbers_of_type":
            known = request.all_extension_numbers_of_type == "zoo.Sound"
            answer.all_extension_numbers_response.extension_number.extend([100] if known else [])
            return
        name = self._file(request, kind)
        if name not in self.files and "not found" in self.failures:
            raise self.failures["not found"]
        if name not in self.files:
            answer.error_response.error_code = int(gyr.StatusCode.NOT_FOUND)
        else:
            data = self.garbage or self.files[name].SerializeToString()
            answer.file_descriptor_response.file_descriptor_proto.append(data)

    def _file(self, request: Any, kind: str) -> str:
        if kind == "file_by_filename":
            return str(request.file_by_filename)
        if kind == "file_containing_extension":
            return "chips.proto"
        try:
            return str(pool().FindFileContainingSymbol(request.file_containing_symbol).name)
        except KeyError:
            return ""


def reflection(mirror: Mirror, version: str) -> gyr.Service:
    """A reflection service of one version, which sends one file for each question."""
    base: Any = ServiceV1 if version == "v1" else ServiceV1Alpha
    words: Any = v1 if version == "v1" else v1alpha

    class Reflection(base):  # type: ignore[misc]
        async def server_reflection_info(
            self, requests: Any, ctx: gyr.ServerContext
        ) -> AsyncIterator[Any]:
            async for request in requests:
                answer = words.ServerReflectionResponse()
                mirror.answer(request, answer)
                for _ in range(mirror.answers):
                    yield answer

    service: gyr.Service = Reflection()
    return service


@contextmanager
def serving(*services: gyr.Service, **options: Any) -> Iterator[str]:
    """The target of a server that runs in a thread of its own."""

    async def start() -> tuple[gyr.Server, int]:
        server = gyr.Server(services, grace=0.0, **options)
        return server, await server.listen("127.0.0.1:0")

    with start_blocking_portal("asyncio") as portal:
        server, port = portal.call(start)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            portal.call(server.stop)
