"""How calls end, as the other side sees it, between Gyrfalcon and grpcio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import repeat

import pytest
from google.protobuf import any_pb2
from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from gyrfalcon.rpc.rich_status import encode_details
from tests.call.service import BIDI, CLIENT_STREAM, SERVER_STREAM, UNARY, make_method
from tests.interop.clients import Method
from tests.interop.pairs import Pairing, call, echo, every_pairing
from tests.interop.servers import Context, Handler

pytestmark = [pytest.mark.anyio, every_pairing]

TEXTS = [
    "",
    "plain",
    "100% of %41 and %",
    "Grüezi 🏔 日本語 \u202e",
    "".join(map(chr, range(32))) + "\x7f",
    "line one\nline two\r\n\ttab",
    " blanks around ",
    "\"quoted\" \\ and 'so'",
]

# What grpc.aio's caller may get instead of the status that came, when a stream ends while
# a request is being written: one call in 60 to Gyrfalcon's server and one in 30 to grpc.aio's own,
# after the same frames from both. test_raw_streams.py looks at what Gyrfalcon's server sends.
WRITE_FAILED = (13, "Internal error from Core")


def failing(code: int, text: str, details: bytes = b"") -> Handler:
    async def fail(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            pass
        await ctx.fail(code, text, details)
        yield b""

    return fail


@pytest.mark.parametrize("code", range(1, 17))
async def test_every_code_arrives(pairing: Pairing, code: int) -> None:
    async with pairing.connect(failing(code, "so it is")) as client:
        outcome = await call(client, UNARY, [b""])
        assert (outcome.code, outcome.message, outcome.replies) == (code, "so it is", [])


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
async def test_every_text_arrives(pairing: Pairing, text: str) -> None:
    async with pairing.connect(failing(5, text)) as client:
        for method in (UNARY, SERVER_STREAM, CLIENT_STREAM, BIDI):
            outcome = await call(client, method, [b""])
            assert (outcome.code, outcome.message) == (5, text)


@pytest.mark.parametrize("text", ["long " * 50_000, "é" * 100_000, "\x00" * 100_000], ids=len)
async def test_a_text_that_is_too_long_is_cut_and_the_code_arrives(
    pairing: Pairing, text: str
) -> None:
    if not pairing.own_server:
        # grpcio sends it whole, over every limit of headers.
        expected = {gyr.StatusCode.RESOURCE_EXHAUSTED, gyr.StatusCode.UNAVAILABLE, 13}
        async with pairing.connect(failing(5, text)) as client:
            assert (await call(client, UNARY, [b""])).code in expected
        return
    async with pairing.connect(failing(5, text)) as client:
        for method in (UNARY, BIDI):
            outcome = await call(client, method, [b""])
            assert outcome.code == 5
            assert outcome.message.endswith("...")
            assert text.startswith(outcome.message.removesuffix("..."))
            assert len(outcome.message) > 500


async def test_an_error_comes_after_the_replies_before_it(pairing: Pairing) -> None:
    async def handler(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number
        await ctx.fail(10, "enough")

    async with pairing.connect(handler) as client:
        outcome = await call(client, SERVER_STREAM, [b""])
        assert outcome.replies == [b"0", b"1", b"2"]
        assert (outcome.code, outcome.message) == (10, "enough")


async def test_an_exception_of_the_handler_is_unknown(pairing: Pairing) -> None:
    async def broken(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        raise KeyError("the secret")
        yield b""

    async with pairing.connect(broken) as client:
        outcome = await call(client, UNARY, [b""])
        assert outcome.code == gyr.StatusCode.UNKNOWN
        if pairing.own_server:
            assert "secret" not in outcome.message


async def test_rich_details_arrive_byte_for_byte(pairing: Pairing) -> None:
    packed = any_pb2.Any(type_url="type.example/not.known", value=b"\x00\xff")
    details = encode_details(9, "with details", [StringValue(value="é"), packed])
    async with pairing.connect(failing(9, "with details", details)) as client:
        outcome = await call(client, UNARY, [b""])
        assert (outcome.code, outcome.message) == (9, "with details")
        assert outcome.details == details


@pytest.mark.parametrize(
    "method",
    [
        make_method("NoSuchMethod", "x", gyr.Pattern.UNARY_UNARY),
        make_method("unary", "x", gyr.Pattern.UNARY_UNARY),
        make_method("NoSuchMethod", "x", gyr.Pattern.UNARY_STREAM),
        gyr.Method("no.such.Service", "Unary", "x", UNARY.pattern, UNARY.request, UNARY.response),
    ],
    ids=lambda method: method.path,
)
async def test_an_unknown_method_is_unimplemented(pairing: Pairing, method: Method) -> None:
    async with pairing.connect(echo) as client:
        outcome = await call(client, method, [b""])
        assert outcome.code == gyr.StatusCode.UNIMPLEMENTED
        assert (await call(client, UNARY, [b"alive"])).replies == [b"alive"]


@pytest.mark.parametrize("code", [0, 11])
async def test_a_server_may_end_before_its_client_has_sent_all(pairing: Pairing, code: int) -> None:
    async def early(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        first = await anext(requests)
        if code:
            await ctx.fail(code, "enough")
        yield first

    methods = (CLIENT_STREAM,) if pairing.from_aio else (CLIENT_STREAM, BIDI)
    async with pairing.connect(early) as client:
        for method in methods:
            outcome = await call(client, method, repeat(b"x" * 1000))
            assert outcome.replies == ([] if code else [b"x" * 1000])
            if not (pairing.from_aio and (outcome.code, outcome.message) == WRITE_FAILED):
                assert outcome.code == code
        # The connection goes on, with all of its window.
        for _ in range(3):
            assert (await call(client, CLIENT_STREAM, [b"x" * 2**20])).code == code


async def test_a_server_may_end_while_its_client_waits(pairing: Pairing) -> None:
    async def at_once(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        yield b"only"

    async with pairing.connect(at_once) as client:
        running = client.start(BIDI, None)
        assert await running.receive() == b"only"
        assert await running.receive() is None
        assert (await running.outcome()).code == 0


async def test_many_calls_that_fail_leave_the_channel_good(pairing: Pairing) -> None:
    async def sometimes(requests: AsyncIterator[bytes], ctx: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            if int(request) % 2:
                await ctx.fail(3, request.decode())
            yield request

    async with pairing.connect(sometimes) as client:
        outcomes = await asyncio.gather(*(call(client, UNARY, [b"%d" % n]) for n in range(40)))
        assert [(one.code, one.message) for one in outcomes] == [
            (3, str(n)) if n % 2 else (0, "") for n in range(40)
        ]
