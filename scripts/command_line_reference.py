"""Writes the reference of `gyr` from what its commands say of themselves.

    python scripts/command_line_reference.py

What stands after the marker in docs/reference/command-line.md is replaced.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click

from gyrfalcon.cli.verbs import gyr

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "command-line.md"
MARKER = "<!-- From here on: scripts/command_line_reference.py -->\n"


def reference() -> str:
    """The section of every command, one after another."""
    context = click.Context(gyr, info_name="gyr")
    sections = []
    for name in gyr.list_commands(context):
        command = gyr.get_command(context, name)
        assert command is not None
        sections.append(section(command, click.Context(command, context, info_name=name)))
    return "\n".join(sections)


def section(command: click.Command, context: click.Context) -> str:
    """A command: its usage, what it does, its options."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"## {context.command_path}", "", "```", usage, "```", ""]
    lines += [text for one in paragraphs(command.help or "") for text in (one, "")]
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| {names(option)} | {escaped(option.help or '')} |" for option in options]
        lines.append("")
    return "\n".join(lines)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a docstring; those after "\\b" keep their lines."""
    found = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            found.append(f"```\n{paragraph[2:]}\n```")
        else:
            found.append(escaped(" ".join(paragraph.split("\n"))))
    return found


def names(option: click.Option) -> str:
    """How an option is written, with what it takes."""
    spelled = [f"`{name}`" for name in (*option.opts, *option.secondary_opts)]
    if not option.is_flag:
        kind = option.type
        taken = option.metavar or (
            "|".join(kind.choices) if isinstance(kind, click.Choice) else kind.name.upper()
        )
        spelled[-1] = f"{spelled[-1][:-1]} {taken}`".replace("|", "\\|")
    return ", ".join(spelled)


def escaped(text: str) -> str:
    """Text for Markdown: no tables, emphasis or HTML by accident."""
    return re.sub(r"([|*<])", r"\\\1", text)


def main() -> None:
    head, marker, _ = PAGE.read_text(encoding="utf-8").partition(MARKER)
    PAGE.write_text(f"{head}{marker}\n{reference()}", encoding="utf-8")


if __name__ == "__main__":
    main()
