"""``gyr bench``."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import click

import gyrfalcon as gyr
from gyrfalcon.services.proto.grpc.health.v1.health_gyr import HealthStub
from gyrfalcon.services.proto.grpc.health.v1.health_pb2 import HealthCheckRequest

from .failures import FAILED, INTERRUPTED, Failure, WrongUse
from .json_text import JsonText
from .options import (
    Connecting,
    Definition,
    Duration,
    Target,
    connecting_options,
    definition_options,
)
from .requests import read_documents
from .running import run
from .schema import gyr_method
from .session import opened

if TYPE_CHECKING:
    from .load import Load, Tally, Until
    from .report import Result, Settings

_CONCURRENCY = 50
_DURATION = 10.0
_MAX_IN_FLIGHT = 10_000
_MAX_REQUESTS = 100_000


@click.command("bench")
@click.argument("target", type=Target(), metavar="HOST:PORT")
@click.argument("method", metavar="SERVICE/METHOD")
@click.option(
    "-d",
    "--data",
    multiple=True,
    metavar="JSON|@FILE|@-",
    help="A request, as JSON; may be given several times. Calls with one request take them in "
    "turn, others send all. @FILE reads requests from a file, @- from standard input. Default: "
    "one empty request.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Calls in flight: the next begins when one ends. Default: {_CONCURRENCY}. With --rate: "
    f"at most so many. Default then: {_MAX_IN_FLIGHT}.",
)
@click.option(
    "-r",
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Begin N calls a second, whether or not others have ended. Latency then counts from the "
    "time that a call was meant to begin.",
)
@click.option(
    "-t",
    "--duration",
    type=Duration(),
    metavar="DURATION",
    help=f"How long to begin calls. Default: {_DURATION:g} seconds.",
)
@click.option(
    "-n",
    "--requests",
    "calls",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many calls to make, instead of --duration.",
)
@click.option(
    "--warmup",
    type=Duration(zero=True),
    default=1.0,
    metavar="DURATION",
    help="Call like this before measuring. Default: 1 second.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Connections to spread the calls over. Default: 1.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE|-",
    help="Write the result as JSON to a file, or, instead of the report, to stdout.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
@definition_options
@connecting_options(timeout=20.0)
def command(
    target: str,
    method: str,
    data: tuple[str, ...],
    concurrency: int | None,
    rate: float | None,
    duration: float | None,
    calls: int | None,
    warmup: float,
    connections: int,
    json_file: str | None,
    quiet: bool,
    definition: Definition,
    connecting: Connecting,
) -> None:
    """Measure how fast a method answers.

    Latencies are those of calls that end with OK. Ctrl-C ends the run, and reports it so far.

    \b
    Exit status:
      0       every call ended with OK
      1       some did not
      2       wrong usage
      64 + N  the server could not be called at all: status code N
      130     interrupted
    """
    if duration is not None and calls is not None:
        raise click.UsageError("--duration and --requests exclude each other: give one of them")
    try:
        from .load import Until
        from .report import Settings
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        raise Failure(
            "gyr bench needs rich, which is not installed: pip install 'gyrfalcon[cli]'"
        ) from None
    if concurrency is None:
        concurrency = _CONCURRENCY if rate is None else _MAX_IN_FLIGHT
    if calls is None and duration is None:
        duration = _DURATION
    settings = Settings(target, method, concurrency, rate, connections, warmup)
    until = Until(calls, duration)
    result = run(_bench(settings, until, data, quiet, definition, connecting))
    _write(result, json_file)
    if result.interrupted:
        raise SystemExit(INTERRUPTED)
    if result.failed:
        raise SystemExit(FAILED)


async def _bench(
    settings: Settings,
    until: Until,
    data: tuple[str, ...],
    quiet: bool,
    definition: Definition,
    connecting: Connecting,
) -> Result:
    from .load import Load, Tally, make_caller
    from .report import Result

    async with AsyncExitStack() as stack:
        first, schema = await stack.enter_async_context(
            opened(settings.target, connecting, definition)
        )
        descriptor = await schema.method(settings.method)
        text = JsonText(schema)
        requests: list[Any] = []
        async for document in read_documents(data or ("{}",)):
            requests.append(await text.read(document.text, descriptor.input_type, document.where))
            if len(requests) > _MAX_REQUESTS:
                raise WrongUse(f"more than {_MAX_REQUESTS:,} requests were given")
        if not requests and not descriptor.client_streaming:
            raise WrongUse("no request was given: leave -d out for an empty one")
        channels = [first]
        for _ in range(settings.connections - 1):
            channel = connecting.channel(settings.target)
            channels.append(await stack.enter_async_context(channel))
        await asyncio.gather(*(_connect(channel, connecting) for channel in channels))
        method, options = gyr_method(descriptor), connecting.call_options
        load = Load([make_caller(channel, method, requests, options) for channel in channels])
        tally = Tally()
        try:
            await _run_phases(load, settings, until, tally, quiet)
        except asyncio.CancelledError:
            # Ctrl-C: nobody else cancels this task, which ends here.
            return Result(settings, tally, interrupted=True)
        return Result(settings, tally)


async def _run_phases(
    load: Load, settings: Settings, until: Until, tally: Tally, quiet: bool
) -> None:
    from .load import Tally, Until

    if settings.warmup:
        warmup = Until(seconds=settings.warmup)
        await _run_phase("warm-up", load, settings, warmup, Tally(), quiet)
    await _run_phase("measuring", load, settings, until, tally, quiet)


async def _run_phase(
    title: str, load: Load, settings: Settings, until: Until, tally: Tally, quiet: bool
) -> None:
    from .progress import progress

    async with progress(title, until, tally, quiet):
        if settings.rate is None:
            await load.keep_busy(settings.concurrency, until, tally)
        else:
            await load.keep_rate(settings.rate, settings.concurrency, until, tally)


async def _connect(channel: gyr.Channel, connecting: Connecting) -> None:
    """Connect, with a call that changes nothing: a server may answer it as it likes."""
    try:
        await HealthStub(channel).check(HealthCheckRequest(), **connecting.call_options)
    except gyr.Unavailable as error:
        if error.peer is None:  # it did not come to a connection
            raise
    except gyr.RpcError:
        pass


def _write(result: Result, json_file: str | None) -> None:
    from rich.console import Console

    from .report import as_json, show

    if json_file is not None:
        text = json.dumps(as_json(result), indent=2, ensure_ascii=False) + "\n"
        try:
            with click.open_file(json_file, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise Failure(f"cannot write {json_file!r}: {error.strerror}") from None
    if json_file != "-":
        show(result, Console(highlight=False))
