"""What goes wrong while generating."""

from __future__ import annotations


class GenerationError(Exception):
    """Code could not be generated; the message names the proto file and the remedy."""
