"""What can be called: services and messages, known from .proto files or from the server itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import gyrfalcon as gyr

from .failures import Failure, WrongUse, choices
from .reflection import Reflection

# A server that makes up imports without end is not followed.
_MAX_FILES = 10_000
_WELL_KNOWN_FILES = tuple(
    f"google/protobuf/{name}.proto"
    for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
)


class Schema:
    """A descriptor pool that is filled when something is looked up in it.

    `files` are all that there is, or, with `reflection`, what is known before the server is asked.
    """

    def __init__(
        self, files: Iterable[FileDescriptorProto] = (), reflection: Reflection | None = None
    ) -> None:
        self.pool = DescriptorPool()
        self.files: dict[str, FileDescriptorProto] = {}
        self._reflection = reflection
        self._pending = {file.name: file for file in files}
        self._add_pending()

    # ------------------------------------------------------------------ looking up

    async def services(self) -> list[str]:
        """The full names of all services, sorted."""
        if self._reflection is not None:
            return await self._reflection.services()
        return sorted(
            f"{file.package}.{service.name}".lstrip(".")
            for file in self.files.values()
            for service in file.service
        )

    async def service(self, name: str) -> ServiceDescriptor:
        """The service of this full name. Raises WrongUse that names near ones."""
        await self.know(name)
        try:
            return self.pool.FindServiceByName(name)
        except KeyError:
            services = await self.services()
            raise WrongUse(
                f"there is no service {name!r}", *choices(name, services, "the services are")
            ) from None

    async def method(self, spec: str) -> MethodDescriptor:
        """The method that "pkg.Service/Method" names, or "pkg.Service.Method". Raises WrongUse."""
        text = spec.removeprefix("/")
        service_name, slash, name = text.partition("/")
        if not slash:
            service_name, _, name = text.rpartition(".")
        if not service_name or not name or "/" in name:
            raise WrongUse(f"{spec!r} names no method: write package.Service/Method")
        service = await self.service(service_name)
        if name not in service.methods_by_name:
            raise WrongUse(
                f"service {service_name!r} has no method {name!r}",
                *choices(name, service.methods_by_name, "its methods are"),
            )
        return service.methods_by_name[name]

    async def symbol(self, name: str) -> Any:
        """The descriptor of whatever has this full name. Raises WrongUse."""
        # Not every server finds a method by its name.
        _ = await self.know(name) or await self.know(name.rpartition(".")[0])
        found = self._find(name)
        if found is None:
            known = set(await self.services())
            for file in self.files.values():
                known |= set(_symbols(file))
            raise WrongUse(f"nothing is called {name!r}", *choices(name, known, "there are"))
        return found

    async def know(self, symbol: str) -> bool:
        """Whether there is such a symbol; the server is asked unless it is known."""
        if self._find(symbol) is not None:
            return True
        if self._reflection is not None:
            await self._learn(await self._reflection.files_with(symbol))
        if self._find(symbol) is None and symbol.startswith("google.protobuf."):
            # What a google.protobuf.Any may hold though nothing imports it.
            self._take(_bundled(name) for name in _WELL_KNOWN_FILES)
            self._add_pending()
        return self._find(symbol) is not None

    async def know_extensions(self, *roots: Descriptor) -> None:
        """Ask the server for what extends the message types that these consist of."""
        if self._reflection is None:
            return
        extendable = [one.full_name for one in _reachable(roots) if one.is_extendable]
        if extendable:
            await self._learn(await self._reflection.files_extending(extendable))

    def _find(self, name: str) -> Any:
        pool = self.pool
        service, _, method = name.rpartition(".")
        for find in (
            pool.FindServiceByName,
            pool.FindMessageTypeByName,
            pool.FindEnumTypeByName,
            pool.FindExtensionByName,
        ):
            try:
                return find(name)
            except KeyError:
                continue
        try:
            return pool.FindServiceByName(service).methods_by_name[method]
        except KeyError:
            return None

    # ------------------------------------------------------------------ filling the pool

    async def _learn(self, files: Sequence[FileDescriptorProto]) -> None:
        """Add files and all that they import."""
        assert self._reflection is not None
        self._take(files)
        while missing := self._missing():
            self._take(await self._reflection.files_named(missing))
            for name in missing:
                if name not in self._pending:
                    self._pending[name] = _bundled(name)
        self._add_pending()

    def _take(self, files: Iterable[FileDescriptorProto]) -> None:
        for file in files:
            if file.name not in self.files:
                self._pending[file.name] = file
        if len(self._pending) > _MAX_FILES:
            raise Failure(f"the server's definition has more than {_MAX_FILES:,} files")

    def _missing(self) -> list[str]:
        imported = {name for file in self._pending.values() for name in file.dependency}
        return sorted(imported - self._pending.keys() - self.files.keys())

    def _add_pending(self) -> None:
        """Put what is pending into the pool: each file after those that it imports."""
        while self._pending:
            ready = [
                file
                for file in self._pending.values()
                if all(name in self.files for name in file.dependency)
            ]
            if not ready:
                names = ", ".join(sorted(self._pending)[:5])
                self._pending.clear()
                raise Failure(f"the definition cannot be used: files import each other ({names})")
            for file in ready:
                del self._pending[file.name]
                self._add(file)

    def _add(self, file: FileDescriptorProto) -> None:
        try:
            self.pool.AddSerializedFile(file.SerializeToString())
        except TypeError as error:
            raise Failure(f"the definition cannot be used: {file.name}: {error}") from None
        self.files[file.name] = file


def load_protos(protos: Sequence[Path], proto_paths: Sequence[Path]) -> Schema:
    """The schema of .proto files. Raises WrongUse, and Failure in protoc's words."""
    # Here, because protoc comes with another extra and few runs need it.
    from gyrfalcon.codegen.errors import GenerationError
    from gyrfalcon.codegen.protoc import read_descriptors

    for proto in protos:
        # As for protoc, a name may also be relative to one of the folders.
        if not any((folder / proto).is_file() for folder in (Path(), *proto_paths)):
            raise WrongUse(f"there is no file {str(proto)!r}")
    paths = proto_paths or dict.fromkeys([*(proto.parent for proto in protos), Path()])
    try:
        return Schema(read_descriptors(protos, list(paths)))
    except GenerationError as error:
        raise Failure(str(error)) from None


def gyr_method(method: MethodDescriptor) -> gyr.Method[Any, Any]:
    """A method as stubs take it, with message classes made for it."""
    streaming = (method.client_streaming, method.server_streaming)
    return gyr.Method(
        method.containing_service.full_name,
        method.name,
        method.name,
        next(pattern for pattern in gyr.Pattern if pattern.value == streaming),
        GetMessageClass(method.input_type),
        GetMessageClass(method.output_type),
    )


def _bundled(name: str) -> FileDescriptorProto:
    """A file that protobuf itself has, for servers that leave those out. Raises Failure."""
    file = FileDescriptorProto()
    if name.startswith("google/protobuf/"):
        try:
            module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        except ImportError:
            pass
        else:
            module.DESCRIPTOR.CopyToProto(file)
            return file
    raise Failure(
        f"the server's reflection does not know the file {name!r}, which its definition imports",
        "give the definition with --proto FILE (and -I FOLDER)",
    )


def _symbols(file: FileDescriptorProto) -> list[str]:
    package = f"{file.package}." if file.package else ""
    messages = [package + message.name for message in file.message_type]
    return [*messages, *(package + enum.name for enum in file.enum_type)]


def _reachable(roots: Iterable[Descriptor]) -> list[Descriptor]:
    """These message types and those of their fields, and so on."""
    found: dict[str, Descriptor] = {}
    ahead = list(roots)
    while ahead:
        one = ahead.pop()
        if one.full_name not in found:
            found[one.full_name] = one
            ahead += [field.message_type for field in one.fields if field.message_type is not None]
    return list(found.values())
