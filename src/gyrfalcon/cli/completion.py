"""``gyr completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Write a shell's completion script.

    \b
    bash: eval "$(gyr completion bash)"    in ~/.bashrc
    zsh:  eval "$(gyr completion zsh)"     in ~/.zshrc
    fish: gyr completion fish > ~/.config/fish/completions/gyr.fish
    """
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(ctx.find_root().command, {}, "gyr", "_GYR_COMPLETE").source())
