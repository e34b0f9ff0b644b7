"""Greeter over the wire."""

from __future__ import annotations

import pytest

from examples.greeter.client import greet
from examples.greeter.proto.helloworld_gyr import GreeterStub
from examples.greeter.server import Greeter
from gyrfalcon.testing import serve

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["world", "", "Grüezi 🏔"])
async def test_everybody_is_greeted_by_name(name: str) -> None:
    async with serve(Greeter()) as channel:
        assert await greet(GreeterStub(channel), name) == f"Hello {name}"
