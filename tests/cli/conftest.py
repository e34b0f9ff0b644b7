"""A server in a thread of its own, and what its reflection knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.zoo import Mirror, keeper, reflection, serving


@pytest.fixture
def mirror() -> Mirror:
    """What the reflection of `target` knows."""
    return Mirror()


@pytest.fixture
def target(mirror: Mirror) -> Iterator[str]:
    """The address of a server with zoo.Keeper and reflection v1."""
    with serving(keeper(), reflection(mirror, "v1")) as address:
        yield address
