"""Asks a server what it has, through gRPC reflection: v1, or v1alpha where v1 is not there."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

import gyrfalcon as gyr
from gyrfalcon.services.proto.grpc.reflection.v1 import reflection_pb2 as v1
from gyrfalcon.services.proto.grpc.reflection.v1.reflection_gyr import (
    ServerReflectionStub as StubV1,
)
from gyrfalcon.services.proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from gyrfalcon.services.proto.grpc.reflection.v1alpha.reflection_gyr import (
    ServerReflectionStub as StubV1Alpha,
)

from .options import Connecting

_Request = v1.ServerReflectionRequest
_NO_REFLECTION = (
    "the server has no reflection: give the definition with --proto FILE (and -I FOLDER)"
)


class NoReflectionError(Exception):
    """The server has no reflection service."""

    def __init__(self, error: gyr.RpcError) -> None:
        super().__init__(_NO_REFLECTION)
        self.error = error


class Reflection:
    """The reflection service of a server. Each question is a call of its own."""

    def __init__(self, channel: gyr.Channel, connecting: Connecting) -> None:
        self._channel = channel
        self._connecting = connecting
        self._new = True

    async def services(self) -> list[str]:
        """The full names of the services. Raises gyr.RpcError, NoReflectionError."""
        (answer,) = await self._ask([_Request(list_services="*")])
        return sorted(service.name for service in answer.list_services_response.service)

    async def files_with(self, symbol: str) -> list[FileDescriptorProto]:
        """The file that defines a symbol, perhaps with others that it needs; none when the server
        does not know the symbol."""
        return self._files(await self._ask([_Request(file_containing_symbol=symbol)]))

    async def files_named(self, names: Sequence[str]) -> list[FileDescriptorProto]:
        """These files, perhaps with others that they need; without those it does not know."""
        return self._files(await self._ask([_Request(file_by_filename=n) for n in names]))

    async def files_extending(self, message_types: Sequence[str]) -> list[FileDescriptorProto]:
        """The files that extend these message types; none when the server cannot tell."""
        try:
            return await self._files_extending(message_types)
        except gyr.RpcError:
            # Servers that are complete in everything else refuse the question.
            return []

    async def _files_extending(self, message_types: Sequence[str]) -> list[FileDescriptorProto]:
        asked = [_Request(all_extension_numbers_of_type=one) for one in message_types]
        wanted = []
        for message_type, answer in zip(message_types, await self._ask_once(asked), strict=True):
            for number in answer.all_extension_numbers_response.extension_number:
                request = _Request()
                request.file_containing_extension.containing_type = message_type
                request.file_containing_extension.extension_number = number
                wanted.append(request)
        return self._files(await self._ask_once(wanted)) if wanted else []

    @staticmethod
    def _files(answers: Sequence[Any]) -> list[FileDescriptorProto]:
        try:
            return [
                FileDescriptorProto.FromString(data)
                for answer in answers
                for data in answer.file_descriptor_response.file_descriptor_proto
            ]
        except DecodeError as error:
            raise gyr.Internal(f"reflection sent a file that cannot be read: {error}") from None

    async def _ask(self, requests: Sequence[v1.ServerReflectionRequest]) -> list[Any]:
        while True:
            try:
                return await self._ask_once(requests)
            except gyr.Unimplemented as error:
                if not self._new:
                    raise NoReflectionError(error) from None
                self._new = False
            except gyr.NotFound:
                # Some end the call with it instead of answering so.
                if len(requests) > 1:
                    return [one for request in requests for one in await self._ask([request])]
                return [v1.ServerReflectionResponse()]

    def _start(self, requests: Sequence[v1.ServerReflectionRequest]) -> AsyncIterable[Any]:
        options = self._connecting.call_options
        if self._new:
            return StubV1(self._channel).server_reflection_info(requests, **options)
        # The versions differ in the name of their package alone.
        data = [request.SerializeToString() for request in requests]
        old = [v1alpha.ServerReflectionRequest.FromString(one) for one in data]
        return StubV1Alpha(self._channel).server_reflection_info(old, **options)

    async def _ask_once(self, requests: Sequence[v1.ServerReflectionRequest]) -> list[Any]:
        answers = []
        async for answer in self._start(requests):
            failed = answer.error_response
            if failed.error_code not in (0, gyr.StatusCode.NOT_FOUND):
                raise gyr.RpcError(f"reflection: {failed.error_message}", code=_code(failed))
            answers.append(answer)
            if len(answers) > len(requests):
                break
        if len(answers) != len(requests):
            more_or_less = "more" if len(answers) > len(requests) else "fewer"
            raise gyr.Internal(f"reflection gave {more_or_less} answers than there were questions")
        return answers


def _code(failed: Any) -> gyr.StatusCode:
    try:
        return gyr.StatusCode(failed.error_code)
    except ValueError:
        return gyr.StatusCode.UNKNOWN
