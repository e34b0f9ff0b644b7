"""What is to be written for one proto file: services, methods, and every name settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from .comments import service_comments
from .errors import GenerationError
from .modules import Importer, module_name
from .names import Scope, attribute_name, is_speakable, module_alias, snake_case

_SERVICE_FIELD = FileDescriptorProto.SERVICE_FIELD_NUMBER
_METHOD_FIELD = ServiceDescriptorProto.METHOD_FIELD_NUMBER

# Suffixes of the classes that a service gives. All of them are kept free from the start: a class
# that a later version adds must not take the name of one that is in use.
_CLASS_SUFFIXES = ("Service", "Stub", "BlockingStub")


@dataclass(frozen=True)
class Message:
    """A message type of a method."""

    value: str
    """The expression for its class."""
    annotation: str
    """Its type, in annotations."""


@dataclass(frozen=True)
class Method:
    """A method of a service."""

    name: str
    attribute: str
    constant: str
    client_streaming: bool
    server_streaming: bool
    request: Message
    response: Message
    comment: str
    deprecated: bool


@dataclass(frozen=True)
class Service:
    """A service of the file."""

    name: str
    full_name: str
    methods: tuple[Method, ...]
    comment: str
    deprecated: bool


@dataclass(frozen=True)
class Module:
    """A generated module of services."""

    source: str
    runtime: str
    """The name to which the module binds ``gyrfalcon``."""
    bindings: dict[str, str]
    """The message modules and the names they are bound to."""
    importer: Importer
    services: tuple[Service, ...]


class MessageIndex:
    """Where the message types of a run are defined."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._places = {
            f".{file.package}.{path}" if file.package else f".{path}": (file.name, path)
            for file in files
            for path in _message_paths(file.message_type)
        }

    def module(self, type_name: str) -> str:
        """The module that defines a message type (``.package.Outer.Inner``)."""
        return module_name(self._places[type_name][0], "_pb2")

    def path(self, type_name: str) -> str:
        """The dotted path of the type in its module."""
        return self._places[type_name][1]


def _message_paths(messages: Iterable[DescriptorProto], outer: str = "") -> Iterator[str]:
    for message in messages:
        path = f"{outer}.{message.name}" if outer else message.name
        yield path
        yield from _message_paths(message.nested_type, path)


def module_model(file: FileDescriptorProto, index: MessageIndex, importer: Importer) -> Module:
    """Settle everything about the module of ``file``.

    Raises GenerationError when two methods of a service, or classes of two services, would have
    one name in Python.
    """
    _refuse_class_clashes(file)
    attributes = [_attributes(file, service) for service in file.service]
    # Annotations in a class body see the class's own names first: a name bound by an import must
    # be none of them.
    scope = Scope(name for names in attributes for name in names)
    runtime = scope.take("gyr")
    bindings = _bindings(file, index, scope)
    comments = service_comments(file)
    services = []
    for i, (service, names) in enumerate(zip(file.service, attributes, strict=True)):
        path = (_SERVICE_FIELD, i)
        prefix = f"{snake_case(service.name)}_" if len(file.service) > 1 else ""
        methods = tuple(
            Method(
                name=method.name,
                attribute=name,
                constant=scope.take("_" + f"{prefix}{name.strip('_')}".upper()),
                client_streaming=method.client_streaming,
                server_streaming=method.server_streaming,
                request=_message(method.input_type, index, bindings, importer),
                response=_message(method.output_type, index, bindings, importer),
                comment=comments.get((*path, _METHOD_FIELD, j), ""),
                deprecated=method.options.deprecated,
            )
            for j, (method, name) in enumerate(zip(service.method, names, strict=True))
        )
        services.append(
            Service(
                name=service.name,
                full_name=f"{file.package}.{service.name}" if file.package else service.name,
                methods=methods,
                comment=comments.get(path, ""),
                deprecated=service.options.deprecated,
            )
        )
    return Module(file.name, runtime, bindings, importer, tuple(services))


def _attributes(file: FileDescriptorProto, service: ServiceDescriptorProto) -> list[str]:
    methods: dict[str, MethodDescriptorProto] = {}
    for method in service.method:
        name = attribute_name(method.name)
        other = methods.setdefault(name, method)
        if other is not method:
            raise GenerationError(
                f"{file.name}: methods {other.name} and {method.name} of service {service.name} "
                f"would both be called {name} in Python; rename one of them"
            )
    return list(methods)


def _refuse_class_clashes(file: FileDescriptorProto) -> None:
    owners: dict[str, str] = {}
    for service in file.service:
        for suffix in _CLASS_SUFFIXES:
            name = service.name + suffix
            other = owners.setdefault(name, service.name)
            if other != service.name:
                raise GenerationError(
                    f"{file.name}: services {other} and {service.name} would both have a class "
                    f"{name} in Python; rename one of them, or put them into two files"
                )


def _bindings(file: FileDescriptorProto, index: MessageIndex, scope: Scope) -> dict[str, str]:
    used = {
        index.module(type_name)
        for service in file.service
        for method in service.method
        for type_name in (method.input_type, method.output_type)
    }
    # Also where no method has a message of it: it registers the service that reflection looks for.
    modules = sorted({*used, module_name(file.name, "_pb2")})
    short = [module.rpartition(".")[2] for module in modules]
    return {
        module: scope.take(module_alias(last if short.count(last) == 1 else module))
        for module, last in zip(modules, short, strict=True)
    }


def _message(
    type_name: str, index: MessageIndex, bindings: dict[str, str], importer: Importer
) -> Message:
    module, path = index.module(type_name), index.path(type_name)
    value = bindings[module]
    for name in path.split("."):
        value = f"{value}.{name}" if is_speakable(name) else f'getattr({value}, "{name}")'
    # No annotation can name what only getattr() or import_module() reaches.
    visible = is_speakable(path) and importer.is_static(module)
    return Message(value, value if visible else "Any")
