"""``gyr serve``."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

import gyrfalcon as gyr

from .failures import Failure, WrongUse, choices

_ADDRESS = "127.0.0.1:50051"
_WHAT = "a gyrfalcon.Server, a service, a list of services, or a function that returns one of those"


@click.command("serve")
@click.argument("application", metavar="MODULE:NAME")
@click.option(
    "-b",
    "--bind",
    "addresses",
    multiple=True,
    default=[_ADDRESS],
    metavar="ADDRESS",
    help=f"host:port, [::1]:port or unix:path; may be given several times. Default: {_ADDRESS}.",
)
@click.option(
    "--app-dir",
    default=".",
    type=click.Path(exists=True, file_okay=False),
    help="Folder to import from, besides the installed packages. Default: the current one.",
)
@click.option(
    "--log-level",
    default="info",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What to log to stderr, unless the program has set up logging itself. Default: info.",
)
def command(application: str, addresses: tuple[str, ...], app_dir: str, log_level: str) -> None:
    """Serve what a Python module has.

    MODULE:NAME is a gyrfalcon.Server, a service, a list of services, or a function without
    arguments (or a class) that gives one of those, as in shop.app:make_server.

    Uses uvloop where it is installed. SIGINT and SIGTERM let running calls end; a second signal
    ends them at once.
    """
    sys.path.insert(0, os.path.abspath(app_dir))
    found = load(application)
    # After the import: a program that sets up logging on its own keeps what it has.
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    server = make_server(found, application)
    try:
        server.run(*addresses)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if not reason.startswith(("cannot listen on ", "address ")):
            raise
        raise Failure(reason, "choose another address with --bind") from None


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


def make_server(found: Any, application: str) -> gyr.Server:
    """The server for what was found. Raises WrongUse for what nothing can be served from."""
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
    return gyr.Server(services)


def _needed_arguments(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in optional]
