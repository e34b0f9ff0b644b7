"""``gyr describe``."""

from __future__ import annotations

import json
from typing import Any

import click
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from .definition import Definitions
from .failures import WrongUse
from .options import (
    Connecting,
    Definition,
    connecting_options,
    definition_options,
    target_and_symbol,
)
from .running import run
from .schema import Schema
from .session import known
from .template import template


@click.command("describe")
@click.argument("words", nargs=-1, metavar="[HOST:PORT] [SYMBOL]")
@definition_options
@connecting_options(timeout=10.0)
@click.option(
    "--template",
    "as_template",
    is_flag=True,
    help="Write the JSON of a message, or of a method's request, with every field, to be filled in "
    "for `gyr call -d`.",
)
def command(
    words: tuple[str, ...], definition: Definition, connecting: Connecting, as_template: bool
) -> None:
    """Show definitions, as .proto source.

    SYMBOL is the full name of a service, method, message or enum; without one all services are
    shown. The server is asked by reflection. With --proto it is the .proto files that are read, and
    HOST:PORT may be left out. A method brings the messages it takes and gives.
    """
    target, symbol = target_and_symbol(words, definition, "SYMBOL")
    if as_template and symbol is None:
        raise click.UsageError("--template needs a message or a method: give its name")
    click.echo(run(_describe(target, symbol, definition, connecting, as_template)))


async def _describe(
    target: str | None,
    symbol: str | None,
    definition: Definition,
    connecting: Connecting,
    as_template: bool,
) -> str:
    async with known(target, connecting, definition) as schema:
        if symbol is None:
            found = [await schema.service(name) for name in await schema.services()]
        else:
            found = [await _find(schema, symbol)]
        if as_template:
            return _template(found[0])
        definitions = Definitions(schema.files)
        shown = dict.fromkeys(one for item in found for one in _with_messages(item))
        return "\n\n".join(definitions.write(one.full_name) for one in shown)


async def _find(schema: Schema, symbol: str) -> Any:
    if "/" in symbol:
        return await schema.method(symbol)
    return await schema.symbol(symbol)


def _with_messages(found: Any) -> list[Any]:
    if isinstance(found, MethodDescriptor):
        return [found, found.input_type, found.output_type]
    return [found]


def _template(found: Any) -> str:
    message = found.input_type if isinstance(found, MethodDescriptor) else found
    if not isinstance(message, Descriptor):
        raise WrongUse(f"{found.full_name} is no message: --template shows messages and requests")
    return json.dumps(template(message), ensure_ascii=False)
