"""What `gyr serve` serves: found by its name, here or in a worker's process."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import gyrfalcon as gyr

from .failures import WrongUse, choices

_WHAT = "a gyrfalcon.Server, a service, a list of services, or a function that returns one of those"


@dataclass(frozen=True)
class Application:
    """What is to be served, and how. Its fields can be written as JSON."""

    name: str
    """ "module:attribute"."""
    folder: str
    """To import from, besides the installed packages."""
    log_level: str
    options: dict[str, Any] = field(default_factory=dict)
    """Of `gyrfalcon.Server`; those that were not asked for are left out. Of `tls` the arguments of
    `gyrfalcon.ServerTLS`."""

    def make_server(self, log_prefix: str = "") -> gyr.Server:
        """Import it. Raises WrongUse; errors of the module itself pass."""
        sys.path.insert(0, os.path.abspath(self.folder))
        found = load(self.name)
        # After the import: a program that sets up logging on its own keeps what it has.
        set_up_logging(self.log_level, log_prefix)
        return make_server(found, self.name, self.options)


def set_up_logging(level: str, prefix: str = "") -> None:
    """Log to stderr, unless that is set up already."""
    logging.basicConfig(
        level=level.upper(), format=f"%(asctime)s %(levelname)s {prefix}%(name)s: %(message)s"
    )


def load(application: str) -> Any:
    """The attribute that "module:name" says. Raises WrongUse; errors of the module itself pass."""
    module_name, colon, path = application.partition(":")
    if not colon or not module_name or not path:
        raise WrongUse(f"{application!r} is no MODULE:NAME: write it as in shop.app:make_server")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # An import inside that module which fails is the program's fault: its traceback is shown.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise WrongUse(
            f"there is no module {error.name!r}",
            f"say where it is with --app-dir; now it is {os.path.abspath(sys.path[0])}",
        ) from None
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            public = [one for one in vars(found) if not one.startswith("_")]
            raise WrongUse(
                f"module {module_name!r} has no {path!r}", *choices(name, public, "there are")
            )
        found = getattr(found, name)
    return found


def make_server(found: Any, application: str, options: dict[str, Any]) -> gyr.Server:
    """The server for what was found, with these of its options.

    Raises WrongUse for what nothing can be served from, and for options that a server has already.
    """
    is_service_class = isinstance(found, type) and issubclass(found, gyr.Service)
    if callable(found) and not isinstance(found, gyr.Service):
        if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
            raise WrongUse(
                f"{application} is an async function, and there is no loop yet when it is called",
                "make it a plain function; connect to databases and the like on first use",
            )
        needed = [] if is_service_class else _needed_arguments(found)
        if needed:
            raise WrongUse(
                f"{application} needs arguments: {', '.join(needed)}",
                "name a function that can be called without any",
            )
        found = found()
    if isinstance(found, gyr.Server):
        if options:
            shown = ["cert" if name == "tls" else name.replace("_", "-") for name in options]
            given = ", ".join(f"--{name}" for name in shown)
            raise WrongUse(
                f"{application} gives a gyrfalcon.Server, which has its options already: {given}",
                "set them there, or name something that gives services",
            )
        return found
    services = [found] if isinstance(found, gyr.Service) else found
    if isinstance(services, Iterable) and not isinstance(services, (str, bytes)):
        services = list(services)
    if (
        not isinstance(services, list)
        or not services
        or not all(isinstance(service, gyr.Service) for service in services)
    ):
        raise WrongUse(f"{application} gives {found!r}, and it should be {_WHAT}")
    try:
        if "tls" in options:
            options = {**options, "tls": gyr.ServerTLS(**options["tls"])}
        return gyr.Server(services, **options)
    except (OSError, ValueError) as error:
        raise WrongUse(str(error)) from None


def _needed_arguments(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in optional]
