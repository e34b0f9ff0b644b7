"""The verbs of ``gyr``: a module each, imported when the verb is used."""

from __future__ import annotations

import importlib

import click

from gyrfalcon import __version__

# The module of a verb has the click command as `command`.
_VERBS = ("bench", "call", "completion", "describe", "generate", "health", "list", "serve")


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command = importlib.import_module(f"gyrfalcon.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="gyrfalcon %(version)s")
def gyr() -> None:
    """Tools for gRPC in Python."""
