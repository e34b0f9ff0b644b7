"""``gyr list``."""

from __future__ import annotations

import click

from .options import (
    Connecting,
    Definition,
    connecting_options,
    definition_options,
    target_and_symbol,
)
from .running import run
from .session import known


@click.command("list")
@click.argument("words", nargs=-1, metavar="[HOST:PORT] [SERVICE]")
@definition_options
@connecting_options(timeout=10.0)
def command(words: tuple[str, ...], definition: Definition, connecting: Connecting) -> None:
    """List services, or the methods of one.

    The server is asked by reflection. With --proto it is the .proto files that are read, and
    HOST:PORT may be left out. Methods are written as `gyr call` takes them.
    """
    target, service = target_and_symbol(words, definition, "SERVICE")
    for line in run(_list(target, service, definition, connecting)):
        click.echo(line)


async def _list(
    target: str | None, service: str | None, definition: Definition, connecting: Connecting
) -> list[str]:
    async with known(target, connecting, definition) as schema:
        if service is None:
            return await schema.services()
        found = await schema.service(service)
        return [f"{found.full_name}/{method.name}" for method in found.methods]
