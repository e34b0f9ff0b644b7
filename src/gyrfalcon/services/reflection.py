"""grpc.reflection: which services a server has, and the descriptors of all that belongs to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

import gyrfalcon as gyr

from .proto.grpc.reflection.v1 import reflection_pb2
from .proto.grpc.reflection.v1 import reflection_pb2 as v1
from .proto.grpc.reflection.v1.reflection_gyr import (
    ServerReflectionBlockingStub,
    ServerReflectionStub,
)
from .proto.grpc.reflection.v1.reflection_gyr import ServerReflectionService as ServiceV1
from .proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from .proto.grpc.reflection.v1alpha.reflection_gyr import ServerReflectionService as ServiceV1Alpha

__all__ = ["Reflection", "ServerReflectionBlockingStub", "ServerReflectionStub", "reflection_pb2"]

_T = TypeVar("_T")
_Request = v1.ServerReflectionRequest | v1alpha.ServerReflectionRequest


class Reflection(ServiceV1, ServiceV1Alpha, gyr.ServerObserver):
    """The reflection service of one server, as v1 and as v1alpha.

    It tells of the services that the server has, itself included, and of every file in the
    descriptor pools that their messages are from, and in protobuf's default pool: also of what no
    service uses. Leave it out where clients must not know that. Give each server one of its own.
    """

    def __init__(self) -> None:
        self._services: tuple[gyr.ServiceDefinition, ...] = ()
        self._descriptors = _Descriptors(())

    def server_starting(self, server: gyr.Server) -> None:
        """These services are told of."""
        self._services = server.services
        self._descriptors = _Descriptors(_pools(server.services))

    async def server_reflection_info(
        self, requests: AsyncIterator[_Request], ctx: gyr.ServerContext, /
    ) -> AsyncIterator[Any]:
        """One answer for each request; what is not found is an answer too, and the call goes on."""
        # Which v1alpha and v1 have in common: all but the package.
        words: Any = v1 if ctx.method.startswith("/grpc.reflection.v1.") else v1alpha
        sent: set[str] = set()
        async for request in requests:
            answer = words.ServerReflectionResponse(
                valid_host=request.host, original_request=request
            )
            try:
                self._answer(request, answer, sent)
            except gyr.RpcError as error:
                answer.error_response.error_code = int(error.code)
                answer.error_response.error_message = error.message
            yield answer

    def _answer(self, request: _Request, answer: Any, sent: set[str]) -> None:
        kind = request.WhichOneof("message_request")
        known = self._descriptors
        if kind == "list_services":
            for name in sorted(definition.name for definition in self._services):
                answer.list_services_response.service.add(name=name)
        elif kind == "file_by_filename":
            _put_files(known.file(request.file_by_filename), answer, sent)
        elif kind == "file_containing_symbol":
            _put_files(known.file_of_symbol(request.file_containing_symbol), answer, sent)
        elif kind == "file_containing_extension":
            wanted = request.file_containing_extension
            file = known.file_of_extension(wanted.containing_type, wanted.extension_number)
            _put_files(file, answer, sent)
        elif kind == "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            numbers = known.extension_numbers(name)
            answer.all_extension_numbers_response.base_type_name = name
            answer.all_extension_numbers_response.extension_number.extend(numbers)
        else:
            raise gyr.InvalidArgument("the request asks for nothing")


class _Descriptors:
    """Looks things up in several pools, the first that has them. NotFound where none has."""

    def __init__(self, pools: Iterable[DescriptorPool]) -> None:
        self._pools = tuple(pools)

    def file(self, name: str) -> FileDescriptor:
        """A file by its name."""
        return self._first(f"file {name!r}", lambda pool: pool.FindFileByName(name))

    def file_of_symbol(self, name: str) -> FileDescriptor:
        """The file that has a message, field, enum, value, oneof, extension, service or method."""
        return self._first(f"symbol {name!r}", lambda pool: _file_of_symbol(pool, name))

    def file_of_extension(self, name: str, number: int) -> FileDescriptor:
        """The file that extends the message `name` by the field `number`."""
        return self._first(
            f"extension {number} of {name!r}",
            lambda pool: _file(pool.FindExtensionByNumber(_message(pool, name), number)),
        )

    def extension_numbers(self, name: str) -> list[int]:
        """The numbers of the fields that extend the message `name`, ascending."""
        message = self._first(f"message {name!r}", lambda pool: _message(pool, name))
        return sorted({field.number for field in message.file.pool.FindAllExtensions(message)})

    def _first(self, what: str, find: Callable[[DescriptorPool], _T]) -> _T:
        for pool in self._pools:
            try:
                return find(pool)
            except KeyError:
                continue
        raise gyr.NotFound(f"no {what} here")


def _pools(services: Iterable[gyr.ServiceDefinition]) -> list[DescriptorPool]:
    """The pools of the services' messages, the default one last: another copy of a definition may
    stand there. What is no protobuf message has none."""
    methods = (method for definition in services for method in definition.methods)
    messages = (message for method in methods for message in (method.request, method.response))
    found: dict[Any, None] = {
        message.DESCRIPTOR.file.pool: None for message in messages if issubclass(message, Message)
    }
    found.pop(descriptor_pool.Default(), None)
    return [*found, descriptor_pool.Default()]


def _file(descriptor: Any) -> FileDescriptor:
    file: FileDescriptor = descriptor.file
    return file


def _message(pool: DescriptorPool, name: str) -> Descriptor:
    return pool.FindMessageTypeByName(name)


def _file_of_symbol(pool: DescriptorPool, name: str) -> FileDescriptor:
    try:
        return pool.FindFileContainingSymbol(name)
    except KeyError:
        # protobuf's pools know no methods.
        owner, _, last = name.rpartition(".")
        service = pool.FindServiceByName(owner)
        return _file(service.methods_by_name[last].containing_service)


def _put_files(file: FileDescriptor, answer: Any, sent: set[str]) -> None:
    """The file that was asked for, and of what it imports all that the client does not have."""
    sent.discard(file.name)
    files = [one.serialized_pb for one in _with_imports(file, sent)]
    answer.file_descriptor_response.file_descriptor_proto.extend(files)


def _with_imports(file: FileDescriptor, sent: set[str]) -> Iterator[FileDescriptor]:
    waiting = [file]
    while waiting:
        one = waiting.pop()
        if one.name not in sent:
            sent.add(one.name)
            yield one
            waiting.extend(one.dependencies)
