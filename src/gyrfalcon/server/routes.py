"""Which handler answers which path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..rpc.functions import is_async_function
from ..rpc.method import Method, Service, ServiceDefinition, is_placeholder
from .call import Handler


def list_services(services: Iterable[Service]) -> tuple[Service, ...]:
    """What was passed as services; TypeError when it is one, or no iterable."""
    if isinstance(services, Service) or not isinstance(services, Iterable):
        raise TypeError(f"a server takes a list of services: pass [{services!r}]")
    return tuple(services)


def collect_handlers(services: Iterable[Service]) -> dict[bytes, Handler]:
    """The handlers of services, by the path as it stands on the wire.

    Methods that a service does not have, or has but a placeholder for, are left out: they answer
    UNIMPLEMENTED. Raises TypeError for what is no service, ValueError for a service or method that
    stands there twice.
    """
    handlers: dict[bytes, Handler] = {}
    seen: dict[str, Service] = {}
    for service in services:
        for definition in service_definitions(service):
            if definition.name in seen:
                raise ValueError(
                    f"service {definition.name!r} is served twice, by {seen[definition.name]!r} "
                    f"and by {service!r}; pass one of them"
                )
            seen[definition.name] = service
            for method in definition.methods:
                if has_handler(service, method.attribute):
                    handlers[method.path.encode("ascii")] = make_handler(service, method)
    return handlers


def service_definitions(service: Any) -> list[ServiceDefinition]:
    """What a service defines, by name once: of several classes that define it the most derived has
    its way."""
    found: dict[str, ServiceDefinition] = {}
    for owner in type(service).__mro__:
        if "__gyr_service__" in owner.__dict__:
            definition = owner.__dict__["__gyr_service__"]
            found.setdefault(definition.name, definition)
    if not found:
        hint = " (pass an instance, not the class)" if isinstance(service, type) else ""
        raise TypeError(
            f"{service!r} is no service{hint}: a service is an instance of a class that derives "
            "from a generated ...Service class"
        )
    return list(found.values())


def has_handler(service: Any, attribute: str) -> bool:
    """Whether a service has a handler, and not what a generated class stands in with."""
    found = getattr(service, attribute, None)
    return found is not None and not is_placeholder(found)


def make_handler(service: Service, method: Method[Any, Any]) -> Handler:
    """The handler for one method of a service."""
    function = getattr(service, method.attribute)
    if not callable(function):
        raise TypeError(f"{service!r}.{method.attribute} is {function!r}; a handler is a function")
    only = getattr(function, "__gyr_pattern__", method.pattern)
    if only is not method.pattern:
        raise TypeError(
            f"{service!r}.{method.attribute} is a handler for {only.name} methods, and "
            f"{method.path} is {method.pattern.name}"
        )
    return Handler(method, function, threaded=not is_async_function(function))
