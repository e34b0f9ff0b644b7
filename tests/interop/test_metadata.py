"""Metadata of every shape, both ways, between Gyrfalcon and grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.call.service import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY
from tests.interop.clients import Method, Pair, own_pairs
from tests.interop.pairs import Pairing, call, echo, every_pairing
from tests.interop.servers import Context

pytestmark = [pytest.mark.anyio, every_pairing]

CUSTOM: list[Pair] = [
    ("tenant", "eu"),
    ("x-empty", ""),
    ("a.b_c-d", "~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./ inside blanks"),
    ("repeated", "one"),
    ("repeated", "two"),
    ("repeated", "one"),
    ("no-padding-bin", b"abc"),
    ("one-pad-bin", b"ab"),
    ("two-pads-bin", b"a"),
    ("empty-bin", b""),
    ("every-byte-bin", bytes(range(256))),
    ("repeated-bin", b"\x00"),
    ("repeated-bin", b"\xff\xff"),
    ("long", "v" * 4000),
]


def by_key(pairs: list[Pair]) -> dict[str, list[str | bytes]]:
    """The values of each key in order: the order of keys is nobody's promise."""
    found: dict[str, list[str | bytes]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize(
    "method", [UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI], ids=lambda m: m.name
)
async def test_metadata_arrives_as_it_was_sent_in_all_three_places(
    pairing: Pairing, method: Method
) -> None:
    seen: list[Pair] = []

    async def handler(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        seen.extend(own_pairs(ctx.metadata))
        await ctx.send_initial([("where", "initial"), *CUSTOM])
        ctx.set_trailing([("where", "trailing"), *CUSTOM])
        async for request in requests:
            yield request

    async with pairing.connect(handler) as client:
        outcome = await call(client, method, [b"hello"], metadata=CUSTOM)
        assert (outcome.code, outcome.replies) == (0, [b"hello"])
        assert by_key(seen) == by_key(CUSTOM)
        assert by_key(outcome.initial) == by_key([("where", "initial"), *CUSTOM])
        assert by_key(outcome.trailing) == by_key([("where", "trailing"), *CUSTOM])


async def test_a_call_without_metadata_has_none(pairing: Pairing) -> None:
    seen: list[Pair] = []

    async def handler(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        seen.extend(own_pairs(ctx.metadata))
        async for request in requests:
            yield request

    async with pairing.connect(handler) as client:
        outcome = await call(client, UNARY, [b""])
        assert (outcome.initial, outcome.trailing, seen) == ([], [], [])


async def test_an_error_brings_its_metadata(pairing: Pairing) -> None:
    async def handler(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        ctx.set_trailing(CUSTOM)
        async for _ in requests:
            pass
        await ctx.fail(9, "not now")
        yield b""

    async with pairing.connect(handler) as client:
        for method in (UNARY, BIDI):
            outcome = await call(client, method, [b""])
            assert (outcome.code, outcome.message) == (9, "not now")
            assert by_key(outcome.trailing) == by_key(CUSTOM)


async def test_initial_metadata_comes_before_the_first_reply(pairing: Pairing) -> None:
    release = asyncio.Event()

    async def handler(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        await ctx.send_initial([("where", "initial")])
        await release.wait()
        yield b"reply"

    async with pairing.connect(handler) as client:
        running = client.start(BIDI, [])
        assert await running.initial_metadata() == [("where", "initial")]
        release.set()
        assert (await running.outcome()).replies == [b"reply"]


async def test_the_user_agent_names_the_program_before_the_library(pairing: Pairing) -> None:
    seen: list[str | bytes] = []

    async def handler(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        seen.extend(value for key, value in ctx.metadata if key == "user-agent")
        async for request in requests:
            yield request

    async with pairing.connect(handler, user_agent="shop/7.1") as client:
        await call(client, UNARY, [b""])
    (agent,) = seen
    assert isinstance(agent, str)
    library = "grpc-python" if pairing.own_server else "gyrfalcon"
    assert agent.startswith(f"shop/7.1 {library}")


async def test_a_request_with_much_metadata_is_served_up_to_the_limit(pairing: Pairing) -> None:
    # 8 KiB is the soft limit of the specification: grpcio refuses more at random.
    much: list[Pair] = [(f"key-{number}", "v" * 100) for number in range(45)]
    async with pairing.connect(echo) as client:
        assert (await call(client, UNARY, [b""], metadata=much)).code == 0
