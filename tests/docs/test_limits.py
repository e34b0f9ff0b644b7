"""Every limit that is counted stands in the reference with its unit and its default."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import gyrfalcon as gyr
from gyrfalcon.rpc.limits import LIMITS, Limit

ROOT = Path(__file__).parents[2]
SIDES: dict[str, list[Any]] = {
    "server": [gyr.Server],
    "channel": [gyr.Channel],
    "both": [gyr.Server, gyr.Channel],
}
# They are of each side its own.
OWN_DEFAULTS = {"keepalive"}


def rows() -> dict[str, list[str]]:
    """The rows of the table of limits, by the names in them."""
    found = {}
    for line in (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5:
            for name in cells[1].split("`")[1::2]:
                found[name] = cells
    return found


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_stands_in_the_reference(limit: Limit) -> None:
    _, _, unit, default, _ = rows()[limit.name]
    assert limit.unit in f"{unit}; {default}"


@pytest.mark.parametrize(
    "limit", [limit for limit in LIMITS if limit.sides], ids=lambda limit: limit.name
)
def test_a_limit_that_can_be_set_is_an_option_with_that_default(limit: Limit) -> None:
    for side in SIDES[limit.sides]:
        option = inspect.signature(side).parameters[limit.name]
        if limit.name not in OWN_DEFAULTS:
            assert option.default == limit.default
