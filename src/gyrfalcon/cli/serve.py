"""``gyr serve``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click

from gyrfalcon import workers as processes

from .application import Application, set_up_logging
from .failures import Failure, WrongUse
from .options import Duration
from .reloading import reloading

_ADDRESS = "127.0.0.1:50051"
_BYTES = {"type": click.IntRange(min=0), "metavar": "BYTES"}
_SECONDS = {"type": Duration(), "metavar": "DURATION"}
_NUMBER = {"type": click.IntRange(min=0), "metavar": "N"}

# Options of gyrfalcon.Server that can be written on a command line, by their names there.
SERVER_OPTIONS: dict[str, dict[str, Any]] = {
    "grace": {
        "type": Duration(zero=True),
        "metavar": "DURATION",
        "help": "Time that running calls get when the server stops. Default: 30.",
    },
    "max_receive_bytes": {**_BYTES, "help": "The longest request to accept. Default: 4194304."},
    "max_send_bytes": {**_BYTES, "help": "The longest reply to send. Default: no limit."},
    "max_metadata_bytes": {**_BYTES, "help": "Metadata of a request at most. Default: 16384."},
    "max_concurrent_streams": {
        **_NUMBER,
        "help": "Calls at once on one connection. Default: 1000.",
    },
    "max_concurrent_calls": {
        **_NUMBER,
        "help": "Calls at once on all connections of a process. Default: no limit.",
    },
    "max_connections": {**_NUMBER, "help": "Connections of a process. Default: no limit."},
    "max_connection_age": {
        **_SECONDS,
        "help": "Time after which a client is asked to connect anew. Default: never.",
    },
    "max_connection_age_grace": {
        **_SECONDS,
        "help": "Time that its calls then get. Default: what they take.",
    },
    "max_connection_idle": {
        **_SECONDS,
        "help": "Time without a call after which a connection is ended. Default: never.",
    },
    "max_workers": {
        **_NUMBER,
        "help": "Threads for handlers that are plain functions, in each process. "
        "Default: processors + 4, at most 32.",
    },
    "max_waiting_calls": {
        **_NUMBER,
        "help": "Calls that wait for such a thread at most. Default: 10000.",
    },
    "compression": {
        "type": click.Choice(["gzip", "deflate"]),
        "help": "Compress the replies, where the client takes it.",
    },
    "access_log": {"is_flag": True, "help": "Log a line for every call."},
}


# Of gyrfalcon.ServerTLS, likewise.
TLS_OPTIONS: dict[str, dict[str, Any]] = {
    "cert": {"metavar": "FILE", "help": "Serve with TLS: the certificate, PEM. Watched."},
    "key": {"metavar": "FILE", "help": "The key of --cert, PEM."},
    "client_ca": {
        "metavar": "FILE",
        "help": "Authorities whose clients are trusted, PEM; clients may then prove themselves.",
    },
    "require_client": {"is_flag": True, "help": "With --client-ca: clients have to do so."},
}


def _server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, attributes in reversed({**SERVER_OPTIONS, **TLS_OPTIONS}.items()):
        function = click.option(f"--{name.replace('_', '-')}", name, **attributes)(function)
    return function


@click.command("serve")
@click.argument("application", metavar="MODULE:NAME")
@click.option(
    "-b",
    "--bind",
    "addresses",
    multiple=True,
    default=[_ADDRESS],
    metavar="ADDRESS",
    help="host:port, [::1]:port, unix:path, or fd:N for a socket that this process was started "
    f"with; may be given several times. Default: {_ADDRESS}.",
)
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(min=1, max=1024),
    metavar="N",
    help="Serve with N processes, which are started again when they die, and replaced by SIGHUP "
    "without a call that fails. Default: serve in this process.",
)
@click.option(
    "--linger",
    type=Duration(zero=True),
    default=10.0,
    metavar="DURATION",
    help="Time for which processes that were replaced keep connections with calls, before they "
    "ask their clients to connect anew. Default: 10.",
)
@click.option(
    "--reload",
    is_flag=True,
    help="For development: serve in another process, and replace it when a .py or .proto file "
    "below the folder of --app-dir changes.",
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
@_server_options
def command(
    application: str,
    addresses: tuple[str, ...],
    workers: int | None,
    linger: float,
    reload: bool,
    app_dir: str,
    log_level: str,
    **options: Any,
) -> None:
    """Serve what a Python module has.

    MODULE:NAME is a gyrfalcon.Server, a service, a list of services, or a function without
    arguments (or a class) that gives one of those, as in shop.app:make_server. Options from --grace
    on are those of gyrfalcon.Server, and for what gives services.

    Uses uvloop where it is installed. SIGINT and SIGTERM let running calls end; a second signal
    ends them at once. With --workers, each process imports the module anew, SIGHUP replaces them,
    and SIGUSR1 and SIGUSR2 are passed on to them.
    """
    # False: a flag that was not given.
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    _gather_tls(given)
    what = Application(application, os.path.abspath(app_dir), log_level, given)
    with _failures():
        if workers is None and not reload:
            what.make_server().run(*addresses)
            return
        set_up_logging(log_level)
        with reloading(what.folder) if reload else contextlib.nullcontext():
            processes.supervise(
                _worker_command(what),
                addresses,
                workers=workers or 1,
                linger=linger,
                developing=reload,
            )


def _gather_tls(given: dict[str, Any]) -> None:
    """Put what belongs to TLS under `tls`, with the files as seen from here."""
    tls = {name: given.pop(name) for name in TLS_OPTIONS if name in given}
    if not tls:
        return
    for name in ("cert", "key"):
        if name not in tls:
            raise click.UsageError(f"--{name} is missing: TLS needs --cert and --key")
    if "require_client" in tls and "client_ca" not in tls:
        raise click.UsageError("--require-client needs --client-ca: whose clients are trusted")
    given["tls"] = {
        name: value if value is True else os.path.abspath(value) for name, value in tls.items()
    }


@contextlib.contextmanager
def _failures() -> Any:
    try:
        yield
    except processes.WorkerError as error:
        if error.details is None:
            raise Failure(str(error), "what it wrote before says why") from None
        raise WrongUse(str(error), *error.details["hints"]) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if not reason.startswith(("cannot listen on ", "address ")):
            raise
        raise Failure(reason, "choose another address with --bind") from None


def _worker_command(what: Application) -> Sequence[str]:
    """What starts a worker: this interpreter, as it was started, with the same modules at hand."""
    return (
        sys.executable,
        *_interpreter_options(),
        *("-m", "gyrfalcon.cli.worker", what.name),
        json.dumps({**asdict(what), "path": sys.path}),
    )


def _interpreter_options() -> list[str]:
    """Those that Python itself was started with, as in `python -X dev -m gyrfalcon.cli`."""
    found: list[str] = []
    arguments = iter(sys.orig_argv[1:])
    for argument in arguments:
        if argument in ("-m", "-c", "-") or not argument.startswith("-"):
            break
        found.append(argument)
        if argument in ("-X", "-W", "--check-hash-based-pycs"):
            found.append(next(arguments, ""))
    return found
