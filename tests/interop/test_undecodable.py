"""Bytes that are no message of their type, between Gyrfalcon and grpcio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import gyrfalcon as gyr
from tests.call.service import METHODS, SERVER_STREAM, UNARY
from tests.interop.clients import Method
from tests.interop.pairs import (
    BLOCKING_TO_THREADS,
    FROM_BLOCKING,
    THREADS_TO_AIO,
    THREADS_TO_BLOCKING,
    TO_AIO,
    Pairing,
    call,
    echo,
    every_pairing,
    pairings,
)
from tests.interop.servers import RAW_METHODS, Context
from tests.interop.test_limits import drain

pytestmark = pytest.mark.anyio

RAW_BIDI = RAW_METHODS[3]
# Field 1 says eight bytes, and one follows.
UNDECODABLE = b"\x0a\x08x"
by_name = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
# grpc.aio gives its caller None and OK.
telling_pairings = pairings(
    FROM_BLOCKING, BLOCKING_TO_THREADS, TO_AIO, THREADS_TO_AIO, THREADS_TO_BLOCKING
)


@every_pairing
@pytest.mark.parametrize("method", RAW_METHODS, ids=lambda method: method.name)
async def test_a_request_that_cannot_be_decoded_fails_the_call(
    pairing: Pairing, method: Method
) -> None:
    if pairing is THREADS_TO_BLOCKING and method.pattern.client_streaming:
        pytest.skip("grpcio's blocking server cannot be stopped after that")
    async with pairing.connect(drain) as client:
        outcome = await call(client, method, [UNDECODABLE])
        # grpcio's servers say INTERNAL for one request and UNKNOWN for a stream of them.
        expected = {gyr.StatusCode.INTERNAL}
        if not pairing.own_server:
            expected.add(gyr.StatusCode.UNKNOWN)
        assert outcome.code in expected
        assert (await call(client, UNARY, [b"alive"])).code == 0


@telling_pairings
@by_name
async def test_a_reply_that_cannot_be_decoded_fails_the_call(
    pairing: Pairing, method: Method
) -> None:
    async def garbage(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        yield UNDECODABLE

    async with pairing.connect(garbage, raw=True) as client:
        outcome = await call(client, method, [b""])
        assert (outcome.code, outcome.replies) == (gyr.StatusCode.INTERNAL, [])


@telling_pairings
async def test_good_replies_before_one_that_cannot_be_decoded_arrive(pairing: Pairing) -> None:
    async def mixed(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        yield b"\x0a\x01a"
        yield b"\x0a\x01b"
        yield UNDECODABLE
        yield b"\x0a\x01c"

    async with pairing.connect(mixed, raw=True) as client:
        outcome = await call(client, SERVER_STREAM, [b""])
        assert outcome.code == gyr.StatusCode.INTERNAL
        assert outcome.replies == [b"a", b"b"]


@every_pairing
async def test_bytes_that_nobody_looks_at_pass_as_they_are(pairing: Pairing) -> None:
    async with pairing.connect(echo, raw=True) as client:
        outcome = await call(client, RAW_BIDI, [UNDECODABLE, b"", b"\xff" * 70_000])
        assert outcome.replies == [UNDECODABLE, b"", b"\xff" * 70_000]
