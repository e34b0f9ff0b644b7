"""The command ``gyr``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command with the arguments of the process."""
    try:
        from .verbs import gyr
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        extra = "codegen" if sys.argv[1:2] == ["generate"] else "cli"
        sys.exit(f"gyr needs click, which is not installed: pip install 'gyrfalcon[{extra}]'")
    gyr(prog_name="gyr")
