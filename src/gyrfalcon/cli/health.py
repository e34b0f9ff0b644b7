"""``gyr health``."""

from __future__ import annotations

import click

import gyrfalcon as gyr
from gyrfalcon.services.proto.grpc.health.v1.health_gyr import HealthStub
from gyrfalcon.services.proto.grpc.health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
)

from .failures import FAILED, CallFailed
from .options import Connecting, Target, connecting_options
from .running import run
from .session import failing

_SERVING = "SERVING"
_CHECK_TIMEOUT = 5.0


@click.command("health")
@click.argument("target", type=Target(), metavar="HOST:PORT")
@click.argument("service", default="")
@click.option("--watch", is_flag=True, help="Go on, and write each change of the status.")
@click.option("--list", "all_services", is_flag=True, help="Write the status of every service.")
@connecting_options()
def command(
    target: str, service: str, watch: bool, all_services: bool, connecting: Connecting
) -> None:
    """Ask a server whether it is healthy.

    SERVICE is one of its services; without, the server as a whole is meant. Writes SERVING,
    NOT_SERVING, UNKNOWN or, with --watch, SERVICE_UNKNOWN. Without --timeout the answer must come
    within 5 seconds; --watch has no deadline.

    \b
    Exit status:
      0       SERVING (with --list: all of them)
      1       another status
      2       wrong usage
      64 + N  the call ended with status code N, as 69 for NOT_FOUND (5)
      130     interrupted
    """
    if watch and all_services:
        raise click.UsageError("--watch follows one service: leave --list out")
    if all_services and service:
        raise click.UsageError(f"--list shows every service: leave {service!r} out")
    if connecting.timeout is None and not watch:
        connecting = connecting.within(_CHECK_TIMEOUT)
    healthy = run(_health(target, service, watch, all_services, connecting))
    if not healthy:
        raise SystemExit(FAILED)


async def _health(
    target: str, service: str, watch: bool, all_services: bool, connecting: Connecting
) -> bool:
    async with failing(target), connecting.channel(target) as channel:
        try:
            if watch:
                return await _watch(channel, service, connecting)
            if all_services:
                return await _list(channel, connecting)
            return await _check(channel, service, connecting)
        except gyr.Unimplemented as error:
            missing = "health service" if not all_services else "health service that lists"
            raise gyr.Unimplemented(f"the server has no {missing}: {error.message}") from None
        except gyr.NotFound as error:
            raise CallFailed(
                gyr.NotFound(error.message or f"the health service knows no {service!r}"), target
            ) from None


async def _check(channel: gyr.Channel, service: str, connecting: Connecting) -> bool:
    request = HealthCheckRequest(service=service)
    answer = await HealthStub(channel).check(request, **connecting.call_options)
    status = _name(answer.status)
    click.echo(status)
    return status == _SERVING


async def _watch(channel: gyr.Channel, service: str, connecting: Connecting) -> bool:
    request = HealthCheckRequest(service=service)
    status = ""
    async for answer in HealthStub(channel).watch(request, **connecting.call_options):
        status = _name(answer.status)
        click.echo(status)
    return status == _SERVING


async def _list(channel: gyr.Channel, connecting: Connecting) -> bool:
    answer = await HealthStub(channel).list(HealthListRequest(), **connecting.call_options)
    statuses = {service: _name(one.status) for service, one in answer.statuses.items()}
    for service, status in sorted(statuses.items()):
        click.echo(f"{service or '(server)'}: {status}")
    return all(status == _SERVING for status in statuses.values())


def _name(status: int) -> str:
    """The name of a status, its number where this version has no name for it."""
    try:
        return HealthCheckResponse.ServingStatus.Name(status)
    except ValueError:
        return str(status)
