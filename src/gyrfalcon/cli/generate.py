"""``gyr generate``."""

from __future__ import annotations

from pathlib import Path

import click

from gyrfalcon.codegen.errors import GenerationError
from gyrfalcon.codegen.generation import generate


@click.command("generate")
@click.argument("protos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-I",
    "--proto-path",
    "proto_paths",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder in which .proto files and their imports are looked up; may be given several "
    "times. Default: the current folder.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to; it is made when it isn't there.",
)
@click.option(
    "--package/--no-package",
    default=None,
    help="Whether the output folder is a Python package, in which generated modules import each "
    "other relatively. Default: look for __init__.py in it and above it.",
)
@click.option("-q", "--quiet", is_flag=True, help="Don't list the files.")
def command(
    protos: tuple[Path, ...],
    proto_paths: tuple[Path, ...],
    out: Path,
    package: bool | None,
    quiet: bool,
) -> None:
    """Generate messages, services and stubs from .proto files.

    For NAME.proto this writes NAME_pb2.py and NAME_pb2.pyi (messages) and, when the file has
    services, NAME_gyr.py. A folder among PROTOS stands for all .proto files below it.
    """
    try:
        generated = generate(protos, out, proto_paths=proto_paths, package=package)
    except GenerationError as error:
        raise click.ClickException(str(error)) from error
    if generated.warnings:
        click.echo(generated.warnings, err=True)
    if not quiet:
        for file in generated.files:
            click.echo(out / file.relative_to(out.absolute()))
