"""``gyr call``."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import click

import gyrfalcon as gyr

from .failures import printable
from .invocation import replies, start
from .json_text import JsonText
from .options import Connecting, Definition, Target, connecting_options, definition_options
from .requests import read_documents
from .running import run
from .schema import gyr_method
from .session import opened


@click.command("call")
@click.argument("target", type=Target(), metavar="HOST:PORT")
@click.argument("method", metavar="SERVICE/METHOD")
@click.option(
    "-d",
    "--data",
    multiple=True,
    metavar="JSON|@FILE|@-",
    help="A request, as JSON; may be given several times. @FILE reads requests from a file, @- "
    "from standard input, each sent as soon as it is there. Default: one empty request, or "
    "standard input for a method with many requests.",
)
@definition_options
@connecting_options()
@click.option(
    "--emit-defaults", is_flag=True, help="Write fields with default values too, as 0 and []."
)
@click.option("--show-metadata", is_flag=True, help="Write the server's metadata to stderr.")
def command(
    target: str,
    method: str,
    data: tuple[str, ...],
    definition: Definition,
    connecting: Connecting,
    emit_defaults: bool,
    show_metadata: bool,
) -> None:
    """Call a method, with JSON in and out.

    All four patterns can be called. Requests are JSON documents; replies are lines of JSON, written
    as they arrive. SERVICE/METHOD is written as in helloworld.Greeter/SayHello.

    \b
    Exit status:
      0       the call ended with OK
      1       a failure without a status code
      2       wrong usage: no such method, not the JSON of its request, ...
      64 + N  the call ended with status code N, as 69 for NOT_FOUND (5)
      130     interrupted
    """
    run(_call(target, method, data, definition, connecting, emit_defaults, show_metadata))


async def _call(
    target: str,
    spec: str,
    data: tuple[str, ...],
    definition: Definition,
    connecting: Connecting,
    emit_defaults: bool,
    show_metadata: bool,
) -> None:
    async with opened(target, connecting, definition) as (channel, schema):
        descriptor = await schema.method(spec)
        await schema.know_extensions(descriptor.input_type, descriptor.output_type)
        method = gyr_method(descriptor)
        text = JsonText(schema, emit_defaults=emit_defaults)

        async def requests() -> AsyncIterator[Any]:
            given = data or (("@-",) if method.pattern.client_streaming else ("{}",))
            async for document in read_documents(given):
                yield await text.read(document.text, descriptor.input_type, document.where)

        async with await start(channel, method, requests(), connecting) as call:
            if show_metadata:
                await _show_initial(call)
            try:
                async for reply in replies(method, call):
                    click.echo((await text.write(reply)).encode())
            finally:
                if show_metadata and call.done():
                    _show("trailing metadata", await call.trailing_metadata())


async def _show_initial(call: Any) -> None:
    try:
        metadata = await call.initial_metadata()
    except gyr.RpcError:
        return  # it ended without: the error comes with the replies
    _show("initial metadata", metadata)


def _show(title: str, metadata: gyr.Metadata) -> None:
    click.echo(f"{title}:" if len(metadata) else f"{title}: none", err=True)
    for key, value in metadata.items():
        text = value if isinstance(value, str) else base64.b64encode(value).decode()
        click.echo(f"  {key}: {printable(text)}", err=True)
