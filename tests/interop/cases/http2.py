"""The negative cases: what a client makes of a server that handles HTTP/2 unusually, or badly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.interop.faces import Client, Face

from .words import LARGE_REPLY, METHODS, OK, CaseFailed, expect_zeros, large_request

TIMEOUT_S = 20.0
CONCURRENT = 10


async def succeed(client: Client) -> None:
    reply = await client.unary(METHODS["UnaryCall"], large_request(), timeout=TIMEOUT_S)
    expect_zeros("the reply's payload", reply.payload, LARGE_REPLY)


async def fail(face: Face) -> None:
    """Which status a broken stream gets is not said in the descriptions; none of them is OK, and
    none comes from the deadline."""
    async with face.client() as client:
        call = client.start(METHODS["UnaryCall"], large_request(), timeout=TIMEOUT_S)
        end = await call.end()
        if end.code in (OK, 4):
            raise CaseFailed(f"the call ended with status {end.code}: {end.message!r}")


async def goaway(face: Face) -> None:
    async with face.client() as client:
        await succeed(client)
        await succeed(client)


async def rst_after_header(face: Face) -> None:
    await fail(face)


async def rst_during_data(face: Face) -> None:
    await fail(face)


async def rst_after_data(face: Face) -> None:
    await fail(face)


async def ping(face: Face) -> None:
    async with face.client() as client:
        await succeed(client)


async def max_streams(face: Face) -> None:
    async with face.client() as client:
        await succeed(client)
        await face.together(CONCURRENT, lambda _: succeed(client))


CASES: dict[str, Callable[[Face], Awaitable[None]]] = {
    case.__name__: case
    for case in (goaway, rst_after_header, rst_during_data, rst_after_data, ping, max_streams)
}
