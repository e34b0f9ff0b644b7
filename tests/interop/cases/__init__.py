"""The cases of gRPC's interoperability test descriptions, each a coroutine on a face."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.interop.faces import Client, Face

from . import compression, functional, http2, orca, soak
from .soak import SoakOptions


@dataclass(frozen=True)
class Setting:
    """What a case has to do with."""

    face: Face
    soak: SoakOptions = field(default_factory=SoakOptions)


Case = Callable[[Setting], Coroutine[Any, Any, None]]


async def _on_a_channel(run: Callable[[Client], Awaitable[None]], setting: Setting) -> None:
    async with setting.face.client() as client:
        await run(client)


async def _on_a_face(run: Callable[[Face], Awaitable[None]], setting: Setting) -> None:
    await run(setting.face)


async def _soaking(run: Callable[[Face, SoakOptions], Awaitable[None]], setting: Setting) -> None:
    await run(setting.face, setting.soak)


FUNCTIONAL: dict[str, Case] = {
    name: partial(_on_a_channel, run) for name, run in functional.CASES.items()
}
COMPRESSION: dict[str, Case] = {
    name: partial(_on_a_face, run) for name, run in compression.CASES.items()
}
ORCA: dict[str, Case] = {name: partial(_on_a_face, run) for name, run in orca.CASES.items()}
SOAK: dict[str, Case] = {name: partial(_soaking, run) for name, run in soak.CASES.items()}
HTTP2: dict[str, Case] = {name: partial(_on_a_face, run) for name, run in http2.CASES.items()}
"""Against `tests.interop.http2_server`, which misbehaves as each of them needs it."""

ALL: dict[str, Case] = {**FUNCTIONAL, **COMPRESSION, **ORCA, **SOAK, **HTTP2}
